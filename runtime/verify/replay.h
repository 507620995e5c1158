// Deciding a journal again, several partitions at a time, from where an earlier run stopped.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "actors/actor_type.h"
#include "events/frames.h"

namespace soma::runtime {

// How an actor first came out otherwise than recorded.
struct Divergence {
  Position at;
  std::uint64_t sequence = 0;  // of the last event before it
  std::string what;            // names actor and command
  std::uint64_t commands = 0;  // of this actor that come out otherwise
};

// What has been replayed of one partition. `head`: hash of the last valid frame before `next`,
// which tells that a journal is the one that was replayed.
struct ReplayedPartition {
  Offset next;
  std::string head;  // raw bytes; empty: before the first frame
  std::uint64_t frames = 0, events = 0, voided = 0;
  // Of the wanted ones: decided again; not, since personal data that they rest on cannot be read;
  // not, since they were parked.
  std::uint64_t commands = 0, erased = 0, parked = 0;
  std::map<ActorKey, Divergence> divergences;
};

struct ReplayOptions {
  unsigned jobs = 1;                    // threads, at most one a partition
  std::vector<ReplayedPartition> from;  // by partition; empty: from the beginning
  // Which commands are decided again (all are folded); all when empty. Called on several threads.
  std::function<bool(const ActorKey&, Position, std::int64_t time_ms)> wanted;
  // Told now and then, by the calling thread.
  std::function<void(const std::vector<ReplayedPartition>& so_far)> on_progress;
  // Asked before each batch of records (events::kReadBytes); true ends the reading. Called on
  // several threads.
  std::function<bool()> stopped;
};

struct ReplayReport {
  std::vector<ReplayedPartition> partitions;
  std::uint64_t actors = 0;
  bool stopped = false;  // before the end
};

// Runs `decide` on every recorded command, on the state that the recorded events make, and compares
// with what is recorded (I14). Memory: the states of the partitions that are read at the moment.
// Fails: kCorrupt (names the place), kConflict (`from` is of another journal).
Result<ReplayReport> replay_journal(const events::Log& log, const actors::Catalog& catalog,
                                    const ReplayOptions& options);

}  // namespace soma::runtime
