// Work in a process of its own, so that no memory of what ran before is in its figures.
#pragma once

#include <functional>
#include <string>
#include <type_traits>

#include "schemas/base/errors.h"

namespace soma::bench {

// In a fork of this process, whose threads it does not have: call it before there are any. Killed
// with this one. kInternal when it ends without a word.
Result<std::string> bytes_apart(const std::function<Result<std::string>()>& work);

// What `work` comes to, figures in a plain struct.
template <typename T>
Result<T> apart(const std::function<Result<T>()>& work) {
  static_assert(std::is_trivially_copyable_v<T>);
  auto bytes = bytes_apart([&]() -> Result<std::string> {
    auto made = work();
    if (!made) return tl::unexpected(made.error());
    return std::string(reinterpret_cast<const char*>(&*made), sizeof(T));
  });
  if (!bytes) return tl::unexpected(bytes.error());
  T out;
  bytes->copy(reinterpret_cast<char*>(&out), sizeof(T));
  return out;
}

}  // namespace soma::bench
