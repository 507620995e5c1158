// I11: no timer's outcome is recorded before its time.
#pragma once

#include "runtime/checks/entry_check.h"

namespace soma::checks {

class TimerCheck final : public EntryCheck {
 public:
  void entry(const EntryView& view, Findings& findings) override;
};

// The outcome that a command carries, if it carries one.
const v1::EffectOutcome* outcome_of(const actors::Message& command);

}  // namespace soma::checks
