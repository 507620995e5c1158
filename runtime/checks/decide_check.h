// I14: decide, run again on the recorded state, command and context, gives the recorded bytes.
#pragma once

#include "runtime/checks/entry_check.h"

namespace soma::checks {

class DecideCheck final : public EntryCheck {
 public:
  void entry(const EntryView& view, Findings& findings) override;
};

}  // namespace soma::checks
