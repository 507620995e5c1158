// Does a partition that serves get anywhere?
#pragma once

#include <algorithm>
#include <cstdint>

namespace soma::runtime {

// Looked at once a tick, from another thread than the partition's. It counts looks, not time, so
// that a process that was stopped for a while is not taken for one that hangs. A value.
class StillWatch {
 public:
  // True when nothing has moved for `still_ms`, so that nobody should be sent here. `beats`: what
  // rises while the partition, or anything that may hold it up for good reason, gets on.
  bool look(bool serves, std::uint64_t beats, std::int64_t tick_ms, std::int64_t still_ms) {
    if (!serves || beats != beats_) {
      beats_ = beats;
      looks_ = 0;
      return false;
    }
    return ++looks_ >= std::max<std::int64_t>(2, still_ms / std::max<std::int64_t>(1, tick_ms));
  }

 private:
  std::uint64_t beats_ = 0;
  std::int64_t looks_ = 0;
};

}  // namespace soma::runtime
