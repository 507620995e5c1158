// The rules of the fence, written down once more.
#include "runtime/checks/record_check.h"

#include "schemas/base/sha256.h"

namespace soma::checks {

bool RecordCheck::counts(const v1::Frame& frame, const std::string&) const {
  if (frame.has_claim()) return frame.epoch() > highest_claim_;  // the first of its epoch wins
  return frame.epoch() == highest_claim_ && frame.number() == last_number_ + 1 &&
         frame.previous_hash() == head_;
}

void RecordCheck::take(Position at, const v1::Frame& frame, const std::string& hash,
                       events::Verdict verdict, Findings& findings) {
  const bool expected = counts(frame, hash);
  if (expected != (verdict == events::Verdict::kValid))
    findings.push_back({frame.epoch() < highest_claim_ ? "I2" : "I1", at,
                        "the fence says " + std::string(events::verdict_name(verdict)) +
                            " of epoch " + std::to_string(frame.epoch()) + " number " +
                            std::to_string(frame.number()) + ", the rule says otherwise"});
  if (!expected) return;
  if (frame.has_claim()) {
    head_ = frame.previous_hash() == head_ ? hash : sha256(head_ + hash);
    highest_claim_ = frame.epoch();
    last_number_ = 0;
  } else {
    last_number_ = frame.number();
    head_ = hash;
  }
}

}  // namespace soma::checks
