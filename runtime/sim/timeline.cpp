// Events by time, then by order.
#include "runtime/sim/timeline.h"

#include <algorithm>

namespace soma::sim {

void Timeline::at(std::int64_t when_us, std::function<void()> event, Owner owner) {
  events_.emplace(Key{std::max(when_us, now_us_), ++next_}, Event{std::move(event), owner});
}

std::optional<std::int64_t> Timeline::next_us() const {
  return events_.empty() ? std::nullopt : std::optional(events_.begin()->first.first);
}

bool Timeline::run_next() {
  if (events_.empty()) return false;
  run(events_.begin());
  return true;
}

bool Timeline::run_next_of(Owner owner) {
  for (auto it = events_.begin(); it != events_.end(); ++it) {
    if (it->second.owner != owner) continue;
    run(it);
    return true;
  }
  return false;
}

void Timeline::run(std::map<Key, Event>::iterator it) {
  now_us_ = std::max(now_us_, it->first.first);
  const auto event = std::move(it->second.run);
  events_.erase(it);
  event();
}

}  // namespace soma::sim
