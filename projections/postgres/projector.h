// The projector's thread: reaches the database, follows the log, rebuilds, takes over after faults.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "projections/postgres/feeder.h"
#include "projections/postgres/private_cluster.h"
#include "projections/postgres/reader_pool.h"
#include "projections/postgres/rebuild.h"
#include "projections/projections.h"

namespace soma::projections {

class Projector final : public Projections {
 public:
  // Of all rows, as in a verification.
  static constexpr std::chrono::milliseconds kLongestScan{30 * 60 * 1000};
  Projector(const events::Log& log, Options options);
  ~Projector() override;

  void shut_down() override;
  bool wait_ready(std::int64_t timeout_ms) override;
  Result<SessionPage> list_sessions(const std::string& tenant, const std::string& status,
                                    std::size_t limit, const std::string& cursor) override;
  bool wait_for(Position position, std::int64_t timeout_ms) override;
  std::uint64_t lag() const override;
  Status health() const override;
  Report report() const override;
  Status start_rebuild(const std::string& reason) override;
  Status rebuild() override;
  Over start_over() override;
  Result<bool> wait_over(Over over, std::int64_t timeout_ms) override;
  Result<std::string> digest() override;
  Result<std::string> actor_digest(const std::string& tenant, const std::string& type,
                                   const std::string& id) override;
  Result<Verification> verify(const std::optional<std::string>& tenant) override;

 private:
  using Clock = std::chrono::steady_clock;

  // projector.cpp: the thread.
  void run();
  Status connect_and_follow();
  Status follow(Db& db);
  Status follow_another(Db& db);
  Result<bool> become_writer(Db& db);
  Status tend_rebuild(Db& db, Feeder& feeder);
  Status take_over(Db& db, Feeder& feeder);
  void rebuild_ended(const Error* error);
  void discard_cluster();
  bool idle(std::chrono::milliseconds at_most, bool linger);  // false: stopping
  void publish(const Cursors& cursors);
  void set_problem(std::string problem);
  void wake();
  void notice(bool problem, std::string event, std::string detail) const;

  // queries.cpp: reads.
  template <typename T>
  Result<T> read(std::int64_t timeout_ms, const std::function<Result<T>(Db&)>& work);
  bool own() const { return options_.postgres_url.empty(); }
  bool stopping() const;
  void want_rebuild(const std::string& reason);  // under the lock
  Status wait_rebuilt(std::uint64_t number, const std::string& reason, std::int64_t timeout_ms);

  const events::Log& log_;
  const Options options_;
  std::unique_ptr<PrivateCluster> cluster_;  // used by the thread
  ReaderPool readers_;
  Counts counts_;
  std::uint64_t follower_ = 0;

  mutable std::mutex mutex_;
  std::condition_variable changed_, moved_;
  bool work_ = false, shown_ = false, passive_ = false, verifying_ = false;
  bool found_ = false;       // the database, at least once
  std::size_t waiting_ = 0;  // readers that wait for a position: no lingering then
  bool stopping_ = false;
  std::string problem_ = "PostgreSQL is being started";
  std::uint64_t failures_ = 0;
  std::map<PartitionId, Offset> reached_;
  bool rebuild_wanted_ = false;
  std::uint64_t rebuilds_begun_ = 0;
  std::uint64_t rebuilt_ = 0;  // which of them was the last that was taken over
  bool over_wanted_ = false;   // the private cluster is to be made anew
  std::uint64_t overs_done_ = 0;
  Report::Rebuild rebuild_shown_;
  Clock::time_point rebuild_began_;
  std::unique_ptr<Rebuild> rebuild_;
  Db* writing_ = nullptr;   // to interrupt when stopping
  bool advanced_ = false;   // rows were written since the last failure; the thread's
  bool connected_ = false;  // the last attempt reached PostgreSQL; likewise
  std::thread thread_;
};

}  // namespace soma::projections
