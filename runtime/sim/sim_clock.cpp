// Alarms on the timeline.
#include "runtime/sim/sim_clock.h"

#include <algorithm>

namespace soma::sim {

void SimClock::call_at(std::int64_t at_ms, std::function<void()> wake) {
  if (!life_->alive) return;
  alarms_.emplace(at_ms, std::move(wake));
  arm();
}

void SimClock::arm() {
  if (alarms_.empty() || !life_->alive) return;
  auto& ground = life_->ground;
  const std::int64_t in_ms = std::max<std::int64_t>(0, alarms_.begin()->first - now_ms());
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
  while (life_->alive && !life_->paused() && !alarms_.empty() &&
         alarms_.begin()->first <= now_ms()) {
    auto wake = std::move(alarms_.begin()->second);
    alarms_.erase(alarms_.begin());
    wake();
  }
  arm();
}

}  // namespace soma::sim
