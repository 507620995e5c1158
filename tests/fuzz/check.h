// What a target holds to be true of its input; where it is not, the fuzzer sees a crash.
#pragma once

#include <cstdlib>

namespace soma::fuzz {

inline void check(bool holds) {
  if (!holds) std::abort();
}

}  // namespace soma::fuzz
