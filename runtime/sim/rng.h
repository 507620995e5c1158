// Seeded randomness in named streams, the same on every compiler and library.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace soma::sim {

// PCG-XSH-RR 64/32. A stream's draws do not shift those of another. A value.
class Rng {
 public:
  Rng(std::uint64_t seed, std::string_view stream);

  std::uint32_t next();
  std::uint64_t below(std::uint64_t n);                       // 0 .. n-1; 0 when n is 0
  std::int64_t between(std::int64_t low, std::int64_t high);  // both included
  bool chance(std::uint32_t per_million);
  template <typename T>
  const T& pick(const std::vector<T>& from) {
    return from[static_cast<std::size_t>(below(from.size()))];
  }

 private:
  std::uint64_t state_ = 0;
  std::uint64_t increment_ = 1;
};

}  // namespace soma::sim
