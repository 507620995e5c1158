// Reading, and the order across partitions.
#include "runtime/sim/inherited.h"

#include <deque>
#include <map>

#include "actors/actor_type.h"
#include "events/frames.h"
#include "schemas/base/sha256.h"

namespace soma::sim {

namespace {

using Lane = std::deque<std::shared_ptr<const v1::Frame>>;

Result<std::vector<Lane>> lanes_of(const events::Log& log) {
  std::vector<Lane> out(log.partition_count());
  std::size_t bytes = 0;
  for (std::uint32_t p = 0; p < log.partition_count(); ++p) {
    events::FrameReader reader(log, PartitionId{p});
    for (;;) {
      auto frames = reader.next();
      if (!frames) return tl::unexpected(frames.error());
      if (frames->empty()) break;
      for (const auto& f : *frames) {
        bytes += f.frame->ByteSizeLong();
        out[p].push_back(f.frame);
      }
      if (bytes > kMostInheritedBytes)
        return fail(Code::kTooLarge, "the journal holds more than " +
                                         std::to_string(kMostInheritedBytes >> 20) +
                                         " MiB; a world can begin with less only");
    }
  }
  return out;
}

// How far each partition's sends to each other one have come.
using Sent = std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint64_t>;

bool follows(const v1::Frame& frame, std::uint32_t partition, const Sent& sent) {
  for (const auto& input : frame.inputs()) {
    auto it = sent.find({input.source_partition(), partition});
    if (it == sent.end() || it->second < input.source_number()) return false;
  }
  return true;
}

void note_sends(const v1::Frame& frame, std::uint32_t partition, std::uint32_t partitions,
                Sent& sent) {
  for (const auto& entry : frame.entries())
    for (const auto& send : entry.sends()) {
      if (send.number() == 0) continue;
      const PartitionId to = partition_of(actors::to_key(send.to()), partitions);
      sent[{partition, to.value}] = send.number();
    }
}

}  // namespace

Result<Inherited> inherit(const events::Log& log) {
  auto lanes = lanes_of(log);
  if (!lanes) return tl::unexpected(lanes.error());
  Inherited out;
  out.partitions = log.partition_count();
  std::vector<events::Fence> fences(out.partitions);
  Sent sent;
  for (;;) {
    std::uint32_t next = out.partitions;
    bool left = false;
    for (std::uint32_t p = 0; p < out.partitions; ++p) {
      const Lane& lane = (*lanes)[p];
      if (lane.empty()) continue;
      left = true;
      if (follows(*lane.front(), p, sent) &&
          (next == out.partitions || lane.front()->time_ms() < (*lanes)[next].front()->time_ms()))
        next = p;
    }
    if (!left) return out;
    if (next == out.partitions)
      return fail(Code::kCorrupt, "the journal takes up sends that it does not hold (I7)");
    v1::Frame frame = *(*lanes)[next].front();
    (*lanes)[next].pop_front();
    frame.set_previous_hash(fences[next].head());
    std::string bytes = events::encode_frame(frame);
    fences[next].admit(frame, sha256(bytes));
    note_sends(frame, next, out.partitions, sent);
    out.last_ms = std::max(out.last_ms, frame.time_ms());
    out.records.emplace_back(PartitionId{next}, std::move(bytes));
  }
}

}  // namespace soma::sim
