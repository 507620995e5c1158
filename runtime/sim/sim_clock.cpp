// Alarms on the timeline.
#include "runtime/sim/sim_clock.h"

#include <algorithm>

namespace soma::sim {

void SimClock::call_at(std::int64_t at_ms, std::function<void()> wake) {
  if (!life_->alive) return;
  by_wall_.emplace(at_ms, std::move(wake));
  arm();
}

void SimClock::call_in(std::int64_t delay_ms, std::function<void()> wake) {
  if (!life_->alive) return;
  by_steady_.emplace(steady_ms() + delay_ms, std::move(wake));
  arm();
}

void SimClock::arm() {
  if ((by_wall_.empty() && by_steady_.empty()) || !life_->alive) return;
  auto& ground = life_->ground;
  std::int64_t in_ms = INT64_MAX;
  if (!by_wall_.empty()) in_ms = by_wall_.begin()->first - now_ms();
  if (!by_steady_.empty()) in_ms = std::min(in_ms, by_steady_.begin()->first - steady_ms());
  in_ms = std::max<std::int64_t>(0, in_ms);
  const std::int64_t at_us =
      std::max(life_->paused_until_us, (ground.time.now_us() / 1000 + in_ms) * 1000);
  if (armed_us_ >= 0 && armed_us_ <= at_us) return;  // that one will look again
  armed_us_ = at_us;
  ground.time.at(at_us, [here = here_, at_us] {
    if (!*here || (*here)->armed_us_ != at_us) return;
    (*here)->armed_us_ = -1;
    (*here)->ring();
  });
}

void SimClock::ring() {
  const auto next = [this]() -> Alarms* {
    if (!by_steady_.empty() && by_steady_.begin()->first <= steady_ms()) return &by_steady_;
    if (!by_wall_.empty() && by_wall_.begin()->first <= now_ms()) return &by_wall_;
    return nullptr;
  };
  while (life_->alive && !life_->paused()) {
    Alarms* due = next();
    if (!due) break;
    auto wake = std::move(due->begin()->second);
    due->erase(due->begin());
    wake();
  }
  arm();
}

}  // namespace soma::sim
