// What the host needs of the world, so that the same host runs on real parts and in the simulator.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "actors/decider.h"
#include "schemas/base/errors.h"
#include "schemas/base/ids.h"
#include "soma/v1/common.pb.h"

namespace soma::runtime {

// Wall time and one-shot alarms. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual std::int64_t now_ms() const = 0;  // Unix time: for what is recorded or told; may be set
  // Since some moment, by a clock that nobody sets: for patience, back-off and what is done every
  // so often. By the other all of that would stand still for as long as that one is set back.
  virtual std::int64_t steady_ms() const = 0;
  // Run `wake` once, on a clock thread; it must not block. Not before the time is `at_ms`;
  virtual void call_at(std::int64_t at_ms, std::function<void()> wake) = 0;
  // not before `delay_ms` have passed by the steady clock.
  virtual void call_in(std::int64_t delay_ms, std::function<void()> wake) = 0;
};

// Does the outside work of effects; decides nothing. Thread-safe; `run` must return at once.
class EffectRunner {
 public:
  struct Job {
    ActorKey actor;
    actors::Effect effect;
    std::string tenant;
    std::string traceparent;
    std::string correlation_id;
  };
  // Exactly once per run; never where the runner is stopped meanwhile.
  using OnOutcome = std::function<void(v1::EffectOutcome)>;
  virtual ~EffectRunner() = default;
  virtual void run(Job job, OnOutcome done) = 0;
  virtual void cancel(
      const std::string& effect_id) = 0;  // the outcome is then a failure `cancelled`
};

// Snapshots and other caches of the log; everything in it can be deleted. Thread-safe.
class StateStore {
 public:
  // Shorter names first: the order of rows in the store.
  static bool store_order(const ActorKey& a, const ActorKey& b);

  struct Snapshot {
    ActorKey actor;
    Sequence sequence;
    Offset offset;  // of the last frame folded in
    std::string schema_hash;
    std::string state;     // deterministic bytes
    bool pending = false;  // the state has effects: activate it on recovery
  };
  struct Checkpoint {  // every actor's state up to `offset` is in the store
    Offset next;       // first offset not covered
    Epoch epoch;
    FrameNumber number;
    std::string head;       // fence as it stood
    std::string extra;      // the host's own bytes: high-water marks, send numbers
    Offset last;            // of the last record that the fence admitted
    std::string last_hash;  // of its stored bytes: proves that the log is still that log
  };
  struct DedupeRow {
    std::string command_id;
    std::string request_hash;
    ActorKey actor;
    Position position;
    Sequence sequence;
    std::string reply;
    std::int64_t at_ms = 0;
  };
  struct HistoryRow {  // which frame holds an actor's events from `first` on
    ActorKey actor;
    Sequence first;
    Offset offset;
  };
  struct Batch {
    std::vector<Snapshot> snapshots;
    std::vector<DedupeRow> dedupe;
    std::vector<HistoryRow> history;
    std::optional<Checkpoint> checkpoint;
    std::uint64_t generation = 0;  // of the store, as it was when the partition recovered
  };
  virtual ~StateStore() = default;
  // Nothing when absent or when header, checksum or digest do not match (I9).
  virtual std::optional<Snapshot> load(PartitionId partition, const ActorKey& actor) const = 0;
  virtual std::optional<Checkpoint> checkpoint(PartitionId partition) const = 0;
  virtual std::optional<DedupeRow> dedupe(PartitionId partition,
                                          std::string_view command_id) const = 0;
  virtual std::vector<HistoryRow> history(PartitionId partition, const ActorKey& actor,
                                          Sequence after, std::size_t limit) const = 0;
  // Whether a row of the actor's history begins with that event. Behind a snapshot's sequence the
  // next one does, or there is none: snapshots and rows end where frames do. Cheap where there is
  // none.
  virtual bool begins(PartitionId partition, const ActorKey& actor, Sequence first) const = 0;
  virtual std::vector<ActorKey> with_pending(PartitionId partition) const = 0;
  // Actors of a tenant in the order of `store_order`, from after `after` (none: the first) on. An
  // empty type: all types.
  virtual std::vector<ActorKey> list(PartitionId partition, std::string_view tenant,
                                     std::string_view type, const ActorKey* after,
                                     std::size_t limit) const = 0;
  // Every snapshot row; without a snapshot where the row does not check. kIo, kCorrupt when rows
  // cannot be read.
  using OnSnapshot = std::function<void(const ActorKey&, std::optional<Snapshot>)>;
  virtual Status each_snapshot(PartitionId partition, const OnSnapshot& visit) const = 0;
  // Forgets states, not where events stand: an actor is then folded from its first event on. Safe
  // beside a serving host. How many went.
  virtual Result<std::size_t> drop_snapshots(std::string_view tenant, const ActorKey* only) = 0;
  virtual Status write(PartitionId partition, const Batch& batch) = 0;  // atomic
  virtual Status drop_all() = 0;
  virtual Status drop(PartitionId partition) = 0;
  // Raised when the store lost what it held, because a read found damage. Whoever read before
  // cannot rely on what it read since, nor on what it did not find: it recovers from the log.
  virtual std::uint64_t generation() const { return 0; }
  // Rows of before are absent from now on.
  virtual void expire_dedupe(std::int64_t before_ms) = 0;
};

}  // namespace soma::runtime
