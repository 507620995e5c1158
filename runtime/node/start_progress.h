// Whether a start comes on.
#pragma once

#include <chrono>
#include <cstdint>

#include "schemas/base/errors.h"

namespace soma::runtime {

// Told how many frames have been read so far, now and then; logs it every few seconds.
class StartProgress {
 public:
  // kUnavailable: nothing was read for 30 s.
  Status look(std::uint64_t frames);

 private:
  using Clock = std::chrono::steady_clock;
  std::uint64_t frames_ = 0;
  Clock::time_point moved_ = Clock::now(), told_ = moved_;
};

}  // namespace soma::runtime
