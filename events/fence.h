// The one pure function that says which records of a partition count. Owner, projections, replay,
// audit and simulator all read through it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "schemas/base/errors.h"
#include "schemas/base/ids.h"
#include "soma/v1/frame.pb.h"

namespace soma::events {

enum class Verdict : std::uint8_t {
  kValid,
  kStaleEpoch,  // I2: a claim of a higher (or for a claim: equal or higher) epoch stands before it
  kOutOfOrder,  // I1: does not follow the last valid frame by number or previous hash
  kDuplicate,   // I1: a frame that was already valid, stored again
};
std::string_view verdict_name(Verdict verdict);

// Reads records of one partition in offset order. A value: copy it to look ahead.
class Fence {
 public:
  Fence() = default;
  // As it stood at a checkpoint.
  Fence(Epoch epoch, FrameNumber last, std::string head)
      : epoch_(epoch), last_number_(last), head_(std::move(head)) {}

  // `hash` is the SHA-256 of the record's stored bytes. Changes the fence only when valid.
  Verdict admit(const v1::Frame& frame, std::string_view hash);

  Epoch epoch() const { return epoch_; }  // of the last valid claim; 0: none
  FrameNumber last_number() const { return last_number_; }
  const std::string& head() const {
    return head_;
  }  // hash of the last valid record; 32 zeros at first
 private:
  Epoch epoch_{};
  FrameNumber last_number_{};
  std::string head_ = std::string(32, '\0');
};

}  // namespace soma::events
