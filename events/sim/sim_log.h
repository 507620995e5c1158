// A log in memory whose every step and fault is chosen by the caller.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <vector>

#include "events/log.h"

namespace soma::events {

// What happens to one append when its turn comes.
enum class SimFault : std::uint8_t {
  kNone,
  kLostAck,     // stored; reported kUnknown
  kLate,        // reported kUnknown; stored when land_late() is called, if ever
  kNoOffset,    // stored; reported durable without an offset
  kDelayedAck,  // stored and readable; its report, and those behind it, wait
  kDuplicate,   // stored twice; reported with the second offset
  kGap,         // an offset before it stays empty, as a Kafka control record leaves it
  kRefused,     // not stored; reported kRefused
  kLost,        // not stored; reported kUnknown
};

struct SimOptions {
  std::uint32_t partition_count = 8;
};

// Single-threaded and without threads of its own: nothing happens but in step(). The same calls
// give the same history. Reports and follow calls come from step(), on the caller's stack; they may
// append.
class SimLog final : public Log {
 public:
  // The fate of the n-th append to a partition (from 0, since the log was made).
  using Script = std::function<SimFault(PartitionId partition, std::uint64_t nth)>;

  explicit SimLog(SimOptions options = {});

  std::uint32_t partition_count() const override {
    return static_cast<std::uint32_t>(parts_.size());
  }
  void append(PartitionId partition, std::string record, OnReport on_report) override;
  Result<std::vector<Record>> read(PartitionId partition, Offset from,
                                   std::size_t max_bytes) const override;
  Offset end(PartitionId partition) const override;
  std::uint64_t follow(std::function<void(PartitionId)> on_grow) override;
  void unfollow(std::uint64_t subscription) override;
  bool pump() override;
  Status health() const override { return health_; }

  void set_script(Script script) { script_ = std::move(script); }

  // Completes the oldest pending append, of all partitions or of one; with none pending, releases
  // the oldest delayed report. False: nothing to do.
  bool step();
  bool step(PartitionId partition);
  void run();  // steps until nothing is left
  std::size_t pending() const { return queue_.size(); }
  std::size_t delayed() const;  // reports that wait

  void put_foreign(PartitionId partition, std::string record);  // another writer's record, at once
  bool land_late();  // stores the oldest late record; false: there is none
  void flip(Position position,
            std::size_t byte);  // changes a stored byte; aborts if it does not exist

  // The process dies: of the pending appends the first `kept` are stored, nobody hears of any;
  // reports and followers are gone, faults are cleared. Late records are on the wire and may still
  // land. The log lives on for the next process.
  void crash(std::size_t kept);
  // From now on appends are refused (kStorageFull), or, for good until crash(), unknown and refused
  // (kIo).
  void set_full(bool full);
  void break_disk();

 private:
  struct Append {
    PartitionId partition;
    std::string record;
    OnReport on_report;
    SimFault fault;
  };
  struct Ack {
    OnReport on_report;
    AppendReport report;
  };
  struct Partition {
    std::vector<Record> records;
    Offset next{};
    std::uint64_t appends = 0;
    std::deque<Ack> delayed;
  };

  Partition& part(PartitionId partition);
  const Partition* find(PartitionId partition) const;
  Offset store(PartitionId partition, std::string record);
  void complete(Append append);
  bool release_one();

  std::vector<Partition> parts_;
  std::deque<Append> queue_;
  std::deque<std::pair<PartitionId, std::string>> late_;
  std::map<std::uint64_t, std::function<void(PartitionId)>> followers_;
  std::uint64_t next_follower_ = 0;
  Script script_;
  Status health_;
};

}  // namespace soma::events
