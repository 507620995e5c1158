// Clients that know only what they were told: they retry with the same command id until they know.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "runtime/sim/process.h"
#include "runtime/sim/workload.h"

namespace soma::sim {

// Their record of acknowledged commands is the truth for I3 and I5. Single-threaded; owned by the
// world.
class Clients {
 public:
  // A process that takes requests, or nullptr.
  using Pick = std::function<Process*()>;

  Clients(Ground& ground, Oracle& oracle, Pick pick, std::vector<Workload*> workloads,
          std::size_t count);

  void start();
  void stop() { issuing_ = false; }  // no new commands; open ones go on until they are known
  void died(const Life* life);       // connections to that process break
  std::size_t open() const { return open_; }
  std::uint64_t acknowledged() const { return acknowledged_; }
  std::uint64_t issued() const { return issued_; }
  std::set<ActorKey> take_parked() { return std::exchange(parked_, {}); }  // since asked last
  void close(Workload* workload, Op op);  // one more, though no new ones are issued
  // When all is settled and a while has passed: a running process owes nobody an answer.
  void check_answered();
  void finish();  // every acknowledgement against the log

 private:
  struct Command {
    Op op;
    Workload* workload = nullptr;
    std::string id;
    std::optional<runtime::Accepted> accepted;
    std::optional<Error> refused;
    std::uint32_t tries = 0;
    Sequence floor;        // of its actor, as somebody had been told when it was first sent
    bool doubled = false;  // sent twice at once: of two copies one may be refused, the other taken
    bool dropped = false;  // what it needed to read was not there: never sent
  };
  struct Attempt {
    std::shared_ptr<Command> command;
    std::shared_ptr<Life> life;
    bool echo = false;      // only to hear the recorded reply once more
    bool ended = false;     // for the client
    bool answered = false;  // by the process
  };

  void think(std::size_t client);
  std::int64_t rest() const;  // so many microseconds of quiet are due
  void issue(std::size_t client);
  void read(std::size_t client);
  void prepare(std::size_t client, const std::shared_ptr<Command>& command);
  void send(std::size_t client, const std::shared_ptr<Command>& command, bool echo);
  void later(std::size_t client, const std::shared_ptr<Command>& command, bool echo);
  void answer(std::size_t client, const std::shared_ptr<Attempt>& attempt,
              const Result<runtime::Accepted>& result);
  void heard(std::size_t client, const std::shared_ptr<Attempt>& attempt,
             Result<runtime::Accepted> result);
  void watch(const std::shared_ptr<Attempt>& attempt);
  void settle(std::size_t client, const std::shared_ptr<Command>& command);

  Ground& ground_;
  Oracle& oracle_;
  const Pick pick_;
  const std::vector<Workload*> workloads_;
  const std::size_t count_;
  Rng rng_;
  bool issuing_ = true;
  std::uint64_t issued_ = 0, acknowledged_ = 0;
  std::size_t open_ = 0;
  std::vector<std::shared_ptr<Command>> all_;
  std::vector<std::pair<std::size_t, std::shared_ptr<Attempt>>> attempts_;  // not ended
  std::vector<std::shared_ptr<Attempt>> sent_;
  std::set<ActorKey> parked_;          // actors that answered so
  std::map<ActorKey, Sequence> told_;  // highest sequence of each actor, as answered or shown
};

}  // namespace soma::sim
