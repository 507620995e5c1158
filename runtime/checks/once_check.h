// I5: a command is applied once, and only once more when it had been parked.
#pragma once

#include <unordered_set>

#include "runtime/checks/entry_check.h"

namespace soma::checks {

class OnceCheck final : public EntryCheck {
 public:
  void entry(const EntryView& view, Findings& findings) override;

 private:
  std::unordered_set<std::string> applied_;  // partition and command id
};

}  // namespace soma::checks
