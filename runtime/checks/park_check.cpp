// The queue of each parked actor.
#include "runtime/checks/park_check.h"

#include <algorithm>

namespace soma::checks {

void ParkCheck::entry(const EntryView& view, Findings& findings) {
  const std::string& id = view.entry.context().command_id();
  auto it = parked_.find(view.actor);
  if (!view.entry.parked().empty()) {
    auto& queue = parked_[view.actor];
    if (std::find(queue.begin(), queue.end(), id) == queue.end()) queue.push_back(id);
    return;
  }
  if (it == parked_.end()) return;
  if (it->second.front() != id)
    findings.push_back(
        {"I12", view.frame.position,
         to_string(view.actor) + ": " + id + " runs before the parked " + it->second.front()});
  std::erase(it->second, id);
  if (it->second.empty()) parked_.erase(it);
}

}  // namespace soma::checks
