// The log as one process sees it: a wire of delays and faults before the one simulated log.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>

#include "events/sim/sim_log.h"
#include "runtime/sim/life.h"

namespace soma::sim {

// Owned by its process. Appends of a partition arrive in order, and so do their reports. What is
// still on the wire when the process dies may land later, or never.
class WireLog final : public events::Log {
 public:
  WireLog(std::shared_ptr<Life> life, events::SimLog& log, Rng rng);
  ~WireLog() override;

  std::uint32_t partition_count() const override { return log_.partition_count(); }
  void append(PartitionId partition, std::string record, OnReport on_report) override;
  Result<std::vector<events::Record>> read(PartitionId partition, Offset from,
                                           std::size_t max_bytes) const override;
  Offset end(PartitionId partition) const override { return log_.end(partition); }
  std::uint64_t follow(std::function<void(PartitionId)> on_grow) override;
  void unfollow(std::uint64_t subscription) override;
  bool pump() override;
  Status health() const override { return log_.health(); }

  void die();  // the process is gone

 private:
  struct Waiting {
    std::string record;
    OnReport on_report;
  };
  struct Lane {  // one partition
    std::int64_t next_arrival_us = 0, next_report_us = 0;
    std::deque<Waiting> wire;
    std::uint64_t flaps = 0;      // appends until the leader stays; every other finds none
    std::uint64_t truncated = 0;  // so many of the front are lost with a leader
    // On their way back, in order, also where a pause held some of them up. A dead process's are
    // let go at once: they hold on to its actors.
    std::deque<std::pair<OnReport, events::AppendReport>> reports;
  };
  // Outlives the wire where records are still to land.
  struct Shared {
    std::shared_ptr<Life> life;
    events::SimLog& log;
    Rng rng;
    bool gone = false;
    std::map<std::uint32_t, Lane> lanes;
  };

  static void arrive(const std::shared_ptr<Shared>& shared, PartitionId partition,
                     const void* owner);
  static events::AppendReport store(Shared& shared, PartitionId partition, Lane& lane,
                                    std::string record);
  static void report_at(const std::shared_ptr<Shared>& shared, std::int64_t when_us,
                        PartitionId partition, const void* owner);

  events::SimLog& log_;
  std::shared_ptr<Shared> shared_;
  std::set<std::uint64_t> followed_;
  bool pumping_ = false;
};

}  // namespace soma::sim
