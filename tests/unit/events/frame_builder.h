// Frames by hand, as an owner would have written them.
#pragma once

#include <string>

#include "events/frames.h"
#include "schemas/base/sha256.h"

namespace soma::events::test {

inline const std::string kZeroHash(32, '\0');

struct Stored {
  v1::Frame frame;
  std::string bytes;
  std::string hash;
};

inline Stored stored(v1::Frame frame) {
  Stored s{std::move(frame), {}, {}};
  s.bytes = encode_frame(s.frame);
  s.hash = sha256(s.bytes);
  return s;
}

inline Stored claim(std::uint64_t epoch, const std::string& previous,
                    const std::string& node = "n1", std::uint32_t partition = 0) {
  v1::Frame f;
  f.set_format(1);
  f.set_partition(partition);
  f.set_epoch(epoch);
  f.set_previous_hash(previous);
  f.mutable_claim()->set_node_id(node);
  return stored(std::move(f));
}

inline Stored frame(std::uint64_t epoch, std::uint64_t number, const std::string& previous,
                    std::int64_t time_ms = 0) {
  v1::Frame f;
  f.set_format(1);
  f.set_epoch(epoch);
  f.set_number(number);
  f.set_previous_hash(previous);
  f.set_time_ms(time_ms);
  return stored(std::move(f));
}

}  // namespace soma::events::test
