// Follows one partition that another node owns, so that a takeover has little left to read.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "events/entry_reader.h"
#include "runtime/host/entity.h"
#include "runtime/host/host.h"
#include "runtime/host/partition_facts.h"

namespace soma::runtime {

// How far sends got, as the frames of all partitions say: what a standby need not keep as under
// way. Thread-safe.
class Arrivals {
 public:
  void take(const events::ValidFrame& frame);
  void reached(PartitionId source, PartitionId target, std::uint64_t number);
  std::uint64_t number(PartitionId source, PartitionId target) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint64_t> numbers_;
};

// Folds valid frames into the store as the owner does, and nothing else: it has no pen, no effects
// and no way to other nodes. What it writes is a cache like the owner's own checkpoints, looked at
// with the same distrust. Thread-safe; take() and look() may read the log and block.
class Standby {
 public:
  struct Parts {
    const events::Log* log;
    const events::EntryReader* entries;  // of the log
    const actors::Catalog* catalog;
    StateStore* store;
    const Clock* clock;
    const HostLimits* limits;
    const Arrivals* arrivals;
  };
  Standby(PartitionId id, Parts parts);

  // Of this partition; the next one needs no reading. Both stop after a while, so that others have
  // their turn: true when a look() would find more at once.
  bool take(const events::ValidFrame& frame);
  // What the log has beyond that, and a checkpoint when one is due.
  bool look();
  // No more frames; what was folded is written, unless `write` is false or a fold had to be cut
  // off. Waits for a read or one actor at most.
  void end(bool write);
  // These never wait for the log or the store.
  Offset next() const { return Offset{next_.load(std::memory_order_relaxed)}; }
  std::string problem() const;  // why it stands still; empty: it follows
  bool lasting() const;         // the log is damaged, or several looks in a row have failed
  std::uint64_t generation() const { return generation_.load(); }  // of the store, when it began

 private:
  void begin();
  bool take_next(const events::ValidFrame& frame);  // false: it is not the very next one
  bool read_to(Offset until);
  bool same_store();
  void fold(const events::ValidFrame& frame);
  Entity* entity(const ActorKey& key);
  void stop_at(const Error& why);
  void follows();
  void write();
  void write_if_due();

  const PartitionId id_;
  const Parts parts_;
  std::atomic<std::uint64_t> next_{0};
  std::atomic<bool> ending_{false};
  mutable std::mutex mutex_;
  bool begun_ = false;
  mutable std::mutex problem_mutex_;
  std::string problem_;
  std::uint32_t failures_ = 0;  // since it last followed
  bool corrupt_ = false;        // the last of them
  std::atomic<std::uint64_t> generation_{0};
  events::Bookmark mark_;  // folded up to here
  PartitionFacts facts_;
  std::unordered_map<ActorKey, std::unique_ptr<Entity>> touched_;  // since the last checkpoint
  std::vector<StateStore::HistoryRow> history_;                    // likewise
  std::uint64_t frames_ = 0, events_ = 0;                          // likewise
  std::int64_t written_ms_ = 0;
};

}  // namespace soma::runtime
