// One life of the real host on simulated parts.
#pragma once

#include <memory>

#include "runtime/host/host.h"
#include "runtime/sim/member.h"
#include "runtime/sim/outside.h"
#include "runtime/sim/sim_clock.h"
#include "runtime/sim/sim_executors.h"
#include "runtime/sim/sim_store.h"
#include "runtime/sim/views.h"
#include "runtime/sim/wire_log.h"

namespace soma::sim {

struct ProcessParts {
  Ground* ground = nullptr;
  events::SimLog* log = nullptr;
  Oracle* oracle = nullptr;
  Outside* outside = nullptr;
  SimStore* disk = nullptr;  // of the machine it runs on
  Views* views = nullptr;    // none: this world has no database
  Group* group = nullptr;    // none: a life takes the whole log
  Network* network = nullptr;
  bool stands_by = false;  // for partitions that other lives have
  const actors::Catalog* catalog = nullptr;
  runtime::HostLimits limits;
  Order order = Order::kRandom;
  std::string name;  // unique among all lives
};

// Owned by the world. The destructor is kill -9.
class Process {
 public:
  // Nothing when the host refuses to start (no log to append to).
  static std::unique_ptr<Process> start(const ProcessParts& parts);
  ~Process();

  Life& life() { return *life_; }
  const std::shared_ptr<Life>& shared_life() const { return life_; }
  runtime::Host& host() { return member_ ? member_->front() : *host_; }  // as its clients see it
  runtime::PartitionHost& local() { return *host_; }
  bool serves_all() const;
  void stop();  // as SIGTERM does: what is under way may end
  Tasks& tasks() { return *tasks_; }
  SimClock& clock() { return *clock_; }
  SimStore& disk() { return *parts_.disk; }
  const Oracle::Cursor& cursor() const { return cursor_; }
  bool stopping = false;  // asked to drain

 private:
  explicit Process(ProcessParts parts);

  const ProcessParts parts_;
  std::shared_ptr<Life> life_;
  Oracle::Cursor cursor_;
  std::shared_ptr<Outside::Memories> memories_ = std::make_shared<Outside::Memories>();
  std::unique_ptr<WireLog> log_;
  std::unique_ptr<SimClock> clock_;
  std::unique_ptr<runtime::StateStore> store_;
  std::unique_ptr<runtime::EffectRunner> runner_;
  std::shared_ptr<Tasks> tasks_;
  std::unique_ptr<Member> member_;  // outlives the host
  std::unique_ptr<runtime::PartitionHost> host_;
  std::shared_ptr<ViewFeed> feed_;
};

}  // namespace soma::sim
