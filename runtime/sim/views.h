// The views in a simulated world: each life's real feeder over the one database, and what its rows
// must be.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "projections/postgres/feeder.h"
#include "runtime/sim/oracle.h"
#include "runtime/sim/sim_sql.h"

namespace soma::sim {

// Owned by the world. Rows and cursors are judged at every commit (I10).
class Views {
 public:
  Views(Ground& ground, Oracle& oracle);

  SimSql& database() { return sql_; }
  void take(const events::ValidFrame& frame);  // each, once, in order
  bool caught_up();
  void compare();  // every row with the fold of the log; complains of the first that differs

 private:
  class Expected;
  void committed();
  std::uint64_t rows();

  Oracle& oracle_;
  SimSql sql_;
  std::map<std::string, SimSql::Table> expected_;
  std::map<projections::ActorName, projections::SessionChange> sessions_;
  struct Taken {
    projections::Digest digest;
    std::uint64_t rows = 0, last_sequence = 0;
  };
  std::map<projections::ActorName, Taken> taken_;
  // By partition: offset of each frame with rows, and how many rows there are up to and with it.
  std::map<std::uint32_t, std::map<std::uint64_t, std::uint64_t>> counts_;
  std::uint64_t total_ = 0;
};

// One process's share: connects, takes the lock or waits for it, feeds, and begins anew with what
// the database says whenever anything fails, as the projector's thread does.
class ViewFeed : public std::enable_shared_from_this<ViewFeed> {
 public:
  ViewFeed(std::shared_ptr<Life> life, const events::Log& log, Views& views, Oracle& oracle);
  void start() { later(0); }

 private:
  void later(std::int64_t at_least_us);
  void turn();
  Status feed();

  const std::shared_ptr<Life> life_;
  const events::Log& log_;
  Views& views_;
  Oracle& oracle_;
  Rng rng_;
  projections::Counts counts_;
  std::unique_ptr<projections::Db> db_;
  std::unique_ptr<projections::Feeder> feeder_;
};

}  // namespace soma::sim
