// The fence: epochs, numbers and hashes of one partition, record by record.
#include "events/fence.h"

#include "schemas/base/sha256.h"

namespace soma::events {

std::string_view verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kValid:
      return "valid";
    case Verdict::kStaleEpoch:
      return "stale_epoch";
    case Verdict::kOutOfOrder:
      return "out_of_order";
    case Verdict::kDuplicate:
      return "duplicate";
  }
  return "?";
}

Verdict Fence::admit(const v1::Frame& frame, std::string_view hash) {
  if (frame.number() == 0) {
    if (frame.epoch() <= epoch_.value) return Verdict::kStaleEpoch;
    epoch_ = Epoch{frame.epoch()};
    last_number_ = FrameNumber{0};
    // A claim may have been written before its owner saw the last frames of the epoch it ends. They
    // stay part of the chain: the head then commits to both.
    head_ = frame.previous_hash() == head_ ? std::string(hash) : sha256(head_ + std::string(hash));
    return Verdict::kValid;
  }
  if (frame.epoch() < epoch_.value) return Verdict::kStaleEpoch;
  if (frame.epoch() > epoch_.value || epoch_.value == 0)
    return Verdict::kOutOfOrder;  // no claim of it
  if (frame.number() < last_number_.value) return Verdict::kDuplicate;
  if (frame.number() == last_number_.value)
    return hash == head_ ? Verdict::kDuplicate : Verdict::kOutOfOrder;
  if (frame.number() != last_number_.value + 1 || frame.previous_hash() != head_)
    return Verdict::kOutOfOrder;
  last_number_ = FrameNumber{frame.number()};
  head_ = std::string(hash);
  return Verdict::kValid;
}

}  // namespace soma::events
