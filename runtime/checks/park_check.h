// I12: while an actor has parked commands, nothing of it runs but the oldest of them.
#pragma once

#include <deque>
#include <map>

#include "runtime/checks/entry_check.h"

namespace soma::checks {

class ParkCheck final : public EntryCheck {
 public:
  void entry(const EntryView& view, Findings& findings) override;
  const std::map<ActorKey, std::deque<std::string>>& parked() const { return parked_; }

 private:
  std::map<ActorKey, std::deque<std::string>> parked_;  // command ids in order
};

}  // namespace soma::checks
