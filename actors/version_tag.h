// What an ETag names of a versioned thing.
#pragma once

#include <string>

namespace soma::actors {

template <typename Versioned>
std::string version_tag(const Versioned& v) {  // "VERSION-HASH"
  return std::to_string(v.version()) + "-" + v.hash();
}

}  // namespace soma::actors
