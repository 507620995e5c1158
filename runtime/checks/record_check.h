// I1 and I2 by the letter of their definitions, as a second opinion on events/fence.
#pragma once

#include <map>

#include "events/fence.h"
#include "runtime/checks/finding.h"

namespace soma::checks {

// Of one partition; takes every record in offset order, with the verdict of the fence under test.
class RecordCheck {
 public:
  void take(Position at, const v1::Frame& frame, const std::string& hash, events::Verdict verdict,
            Findings& findings);

 private:
  bool counts(const v1::Frame& frame, const std::string& hash) const;

  std::uint64_t highest_claim_ = 0;  // of any claim so far
  std::uint64_t last_number_ = 0;    // of the last frame that counts, in that epoch
  std::string head_ = std::string(32, '\0');
};

}  // namespace soma::checks
