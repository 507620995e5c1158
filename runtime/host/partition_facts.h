// What a partition's frames say beside its actors' states: sends under way, what arrived from
// others, what clients were answered, which commands wait for parked actors.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "events/frames.h"
#include "runtime/host/ports.h"
#include "soma/v1/host.pb.h"

namespace soma::runtime {

// By target partition and number.
using Outbox = std::map<std::pair<std::uint32_t, std::uint64_t>, v1::OutboxItem>;
using SendMarks = std::map<std::uint32_t, std::uint64_t>;  // by the other partition

// Read from frames alone, by an owner that recovers and by a standby that follows. A value.
struct PartitionFacts {
  explicit PartitionFacts(std::uint32_t partition_count) : partitions(partition_count) {}

  Status restore(const std::string& extra);  // of a checkpoint; kInternal when it does not parse
  void take(const events::ValidFrame& frame);
  v1::PartitionExtra extra() const;

  struct Parked {
    std::string reason;
    std::vector<v1::Entry> commands;  // in order
  };
  std::uint32_t partitions;
  SendMarks last_sent, high_water;
  Outbox outbox;
  std::map<ActorKey, Parked> parked;
  std::unordered_map<std::string, StateStore::DedupeRow> recent;  // by command id
  v1::Claim claim;                                                // the last one

 private:
  void take_parked(const v1::Entry& entry);
};

// The part of a checkpoint that is about sends.
v1::PartitionExtra extra_of(const SendMarks& last_sent, const SendMarks& high_water,
                            const Outbox& outbox);
void add_parked(v1::PartitionExtra& extra, const ActorKey& actor, const v1::Context& context,
                const std::string& command, const std::string& reason);

// Where the events of a frame's actors begin, for the store.
std::vector<StateStore::HistoryRow> history_of(const events::ValidFrame& frame);

}  // namespace soma::runtime
