// One seeded world: machines, lives of the host, clients, faults, and the phases of a run.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "runtime/sim/clients.h"
#include "runtime/sim/follower.h"
#include "runtime/sim/inherited.h"
#include "runtime/sim/process.h"
#include "runtime/sim/workload.h"

namespace soma::sim {

struct Options {
  std::uint64_t seed = 1;
  std::uint64_t steps = 20'000;           // of the safety phase
  Trace::Print print;                     // every line of the trace
  std::set<std::string> without;          // names of faults and workloads that are left out
  std::size_t clients = 0;                // at most; 0: as many as the seed says
  std::shared_ptr<const Inherited> from;  // with what the log begins; none: it is empty
  // The actors, for the host and the checks alike; none: the standard ones. For planted bugs.
  std::function<std::unique_ptr<actors::Catalog>()> catalog;
};

struct Report {
  std::uint64_t seed = 0;
  std::uint64_t steps = 0;
  std::int64_t simulated_us = 0;
  std::uint64_t commands = 0, acknowledged = 0, frames = 0, voided = 0, events = 0;
  std::uint64_t decided = 0;  // commands in valid frames, those that actors sent too
  std::uint64_t lives = 0;
  std::int64_t settled_us = 0;  // how long the liveness phase took
  std::map<std::string, std::uint64_t> faults;
  std::string trace_hash;
  std::optional<checks::Finding> violation;  // the first
  std::uint64_t violation_step = 0;
  std::vector<std::string> last_lines;  // of the trace, before the violation
};

Report run(const Options& options);
std::vector<std::string> workload_names();

// Not thread-safe. One run, then thrown away.
class World {
 public:
  explicit World(const Options& options);
  ~World();
  Report run();

 private:
  struct Machine {
    std::string name;
    SimStore disk;
    std::unique_ptr<Follower> follower{};
  };
  void choose_views(const Options& options);
  void begin_with(const Inherited& journal);
  void choose_shape(const Options& options);
  void choose_cluster(const Options& options);
  bool step();    // false: nothing can happen any more
  void strike();  // faults that befall processes
  void start_on(std::size_t machine);
  std::size_t free_machine();  // one on which no host runs
  void stand_by();             // machines that follow the log meanwhile
  void end_follower(std::size_t machine);
  void reap();
  void kill(Process& process, const char* why);
  Process* pick();
  Process* newest();
  void jump(std::int64_t ms);
  void hide_head();
  void show_heads();
  void operate();  // a person who redrives what is parked, now and then
  void safety();
  void liveness();
  bool settled() const;
  std::vector<std::string> waits() const;  // effects that must come to their end
  std::vector<ActorKey> parked() const;    // that must be redriven
  void read_all(Process& process);
  void final_reads();
  bool failed() const { return !oracle_.findings().empty(); }

  Ground ground_;
  Rng rng_;
  const std::uint64_t steps_wanted_;
  std::unique_ptr<actors::Catalog> catalog_;        // as the checks see it
  std::unique_ptr<actors::Catalog> buggy_catalog_;  // as the host runs it
  bool buggy_ = false;                              // a bad build is deployed
  ProcessParts shape_;
  events::SimLog log_;
  Oracle oracle_;
  Outside outside_;
  Network network_;  // these two where lives share the partitions
  std::unique_ptr<Group> group_;
  std::size_t wanted_ = 1;        // lives
  std::unique_ptr<Views> views_;  // none: a world without PostgreSQL
  std::vector<std::unique_ptr<Machine>> machines_;
  std::vector<std::unique_ptr<Workload>> workloads_;
  std::unique_ptr<Clients> clients_;
  std::vector<std::unique_ptr<Process>> processes_;  // the newest last
  Rng standby_rng_;
  const bool standbys_;  // this seed has them
  std::uint64_t steps_ = 0, lives_ = 0, followers_ = 0, passivated_ = 0;
  std::int64_t max_offset_ms_ = 0, full_until_us_ = 0, settled_us_ = 0;
  bool starting_ = false;
  std::set<ActorKey> inherited_;      // of the journal with which the world began
  std::set<ActorKey> parked_before_;  // there already
};

}  // namespace soma::sim
