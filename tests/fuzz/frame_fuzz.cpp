// Fuzzes stored records: the bytes as they are through the decoder, then as a script of writers
// (claims, frames, duplicates, zombies, wrong hashes) through the fence, against a model of I1 and
// I2 that keeps the whole history and knows nothing of the fence's shortcuts.
#include <google/protobuf/stubs/logging.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "events/frames.h"
#include "schemas/base/sha256.h"
#include "tests/fuzz/check.h"

using namespace soma;
using namespace soma::events;
using soma::fuzz::check;

namespace {

struct Stored {
  v1::Frame frame;
  std::string hash;
};

Stored store(v1::Frame frame) {
  const std::string bytes = encode_frame(frame);
  check(decode_frame(bytes).has_value());
  return {std::move(frame), sha256(bytes)};
}

// Judges by looking back over every record: slow, and plainly the invariants' text.
class Model {
 public:
  bool admit(const Stored& s) {
    const bool valid = s.frame.has_claim() ? claim(s) : follows(s);
    if (!valid) return false;
    head_ =
        s.frame.has_claim() && s.frame.previous_hash() != head_ ? sha256(head_ + s.hash) : s.hash;
    valid_.push_back(s);
    return true;
  }
  const std::string& head() const { return head_; }
  std::uint64_t epoch() const {
    std::uint64_t highest = 0;
    for (const auto& v : valid_) highest = std::max(highest, v.frame.epoch());
    return highest;
  }

 private:
  bool claim(const Stored& s) const {
    for (const auto& v : valid_)
      if (v.frame.epoch() >= s.frame.epoch()) return false;
    return true;
  }
  bool follows(const Stored& s) const {
    if (valid_.empty() || s.frame.epoch() != valid_.back().frame.epoch()) return false;
    return s.frame.number() == valid_.back().frame.number() + 1 && s.frame.previous_hash() == head_;
  }
  std::vector<Stored> valid_;
  std::string head_ = std::string(32, '\0');
};

void decode(std::string_view bytes) {
  const auto frame = decode_frame(bytes);
  if (!frame) return check(frame.error().code == Code::kCorrupt);
  check((*frame)->epoch() > 0 && ((*frame)->number() == 0) == (*frame)->has_claim());
  const auto again = decode_frame(encode_frame(**frame));
  check(again && encode_frame(**again) == encode_frame(**frame));
  Fence fence;
  const auto verdict = fence.admit(**frame, sha256(bytes));
  check((verdict == Verdict::kValid) == (*frame)->has_claim());  // nothing is valid before a claim
}

// Two bytes a step: what is appended, and by how much it is off.
void script(std::string_view bytes) {
  Fence fence;
  Model model;
  std::vector<Stored> log;
  for (std::size_t i = 0; i + 1 < bytes.size() && log.size() < 64; i += 2) {
    const auto action = static_cast<std::uint8_t>(bytes[i]);
    const auto by = static_cast<std::uint8_t>(bytes[i + 1]);
    v1::Frame f;
    f.set_format(1);
    f.set_time_ms(by);
    f.set_previous_hash(action & 0x40 ? sha256(bytes.substr(0, i)) : fence.head());
    if (action % 4 == 0) {
      f.set_epoch(fence.epoch().value + by % 3 == 0 ? 1 : fence.epoch().value + by % 3);
      f.mutable_claim()->set_node_id(std::to_string(by % 4));
    } else if (action % 4 == 3 && !log.empty()) {
      f = log[by % log.size()].frame;  // what was stored once, again
    } else {
      f.set_epoch(fence.epoch().value + (action & 0x20 ? by % 2 : 0));
      if (f.epoch() == 0) f.set_epoch(1);
      f.set_number(fence.last_number().value + (action & 0x10 ? by % 3 : 1));
      if (f.number() == 0) f.set_number(1);
    }
    Stored s = store(std::move(f));
    const Fence before = fence;
    const bool valid = fence.admit(s.frame, s.hash) == Verdict::kValid;
    check(valid == model.admit(s));
    check(fence.head() == model.head() && fence.epoch().value == model.epoch());
    if (!valid) check(fence.head() == before.head() && fence.last_number() == before.last_number());
    log.push_back(std::move(s));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool silenced = google::protobuf::SetLogHandler(nullptr) != nullptr;
  (void)silenced;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  decode(input);
  script(input);
  return 0;
}
