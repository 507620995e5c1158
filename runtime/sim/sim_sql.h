// The views' database: transactions in memory, which conflict, break, stall and lose their answer.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "projections/postgres/db.h"
#include "runtime/sim/life.h"

namespace soma::sim {

// Understands the statements of the feeder, by what they begin with, and nothing else. One for all
// processes; outlives them. Single-threaded.
class SimSql {
 public:
  using Row = projections::Record;
  using Table = std::map<std::string, Row>;  // by primary key

  explicit SimSql(Ground& ground) : ground_(ground), rng_(ground.seed, "sql") {}

  // A connection. kUnavailable while the database is away. What breaks it: every kind of fault, the
  // end of its owner, and its destructor; what it had not committed is undone then.
  Result<std::unique_ptr<projections::Db>> open(std::shared_ptr<Life> life);
  // The writer's advisory lock, which goes with its connection. False: another has it.
  bool try_lock(const projections::Db& connection);

  const Table& table(const std::string& name) { return tables_[name]; }
  void on_commit(std::function<void()> told) { committed_ = std::move(told); }
  void heal() { away_until_us_ = 0; }

 private:
  class Connection;
  bool away() const { return away_until_us_ > ground_.time.now_us(); }
  void go_away(std::int64_t us);

  Ground& ground_;
  Rng rng_;
  std::map<std::string, Table> tables_;
  std::map<std::uint64_t, Connection*> connections_;
  std::uint64_t next_connection_ = 0, writer_ = 0;  // 0: nobody
  std::int64_t away_until_us_ = 0;
  std::function<void()> committed_;
};

}  // namespace soma::sim
