// When each timer of a run is due: a tenth of them at one instant, in the middle of the others.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace soma::bench {

inline std::int64_t wall_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

class TimerPlan {
 public:
  static constexpr std::size_t kOfAnActor =
      10;  // the first of each actor's is one of the instant's
  TimerPlan(std::size_t timers, std::int64_t first_ms, std::int64_t spread_ms)
      : timers_(timers), first_ms_(first_ms), spread_ms_(spread_ms) {}

  bool at_once(std::size_t i) const { return i % kOfAnActor == 0; }
  std::int64_t first_ms() const { return first_ms_; }
  std::int64_t due_ms(std::size_t i) const {
    return first_ms_ + (at_once(i) ? spread_ms_ / 2
                                   : spread_ms_ * static_cast<std::int64_t>(i) /
                                         static_cast<std::int64_t>(timers_));
  }

 private:
  std::size_t timers_;
  std::int64_t first_ms_, spread_ms_;
};

}  // namespace soma::bench
