// What clients ask for, and what must be true of it in the end. Small files that compose.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/sim/oracle.h"
#include "runtime/sim/outside.h"

namespace soma::sim {

struct Op {
  ActorKey actor;
  std::string command;
  bool poison = false;      // decide throws on it: it ends with kParked
  std::int64_t amount = 0;  // of the workload's own book-keeping
  std::string subject;      // who asks, in the actor's tenant; empty: nobody
  // Read first, where a route does so; the command is then made of what was read, or not sent.
  std::optional<ActorKey> reads;
  std::function<std::optional<std::string>(const actors::Message& state)> with_read;
};

// Single-threaded; deterministic in its Rng. Hears of every valid frame.
class Workload {
 public:
  virtual ~Workload() = default;
  virtual std::string_view name() const = 0;
  virtual Op next(Rng& rng, Ground& ground) = 0;
  virtual void accepted(const Op&) {}  // once per op, at its first acknowledgement
  virtual void frame(const events::ValidFrame&, Oracle&) {}
  // While the world comes to its end: what ends a wait that nothing else ends. Asked again and
  // again; each is given once.
  virtual std::optional<Op> closing(const Oracle&) { return std::nullopt; }
  // What the liveness phase still waits for, beside pending effects and sends under way.
  virtual std::vector<std::string> unsettled(const Oracle&) const { return {}; }
  virtual void finish(Oracle& oracle, const Outside& outside) = 0;
};

std::unique_ptr<Workload> make_ledger();         // counters and transfers: sums are kept
std::unique_ptr<Workload> make_timers();         // timers and at-most-once calls
std::unique_ptr<Workload> make_sessions();       // tenants, sessions, models, memory, inference
std::unique_ptr<Workload> make_poison();         // commands on which decide throws
std::unique_ptr<Workload> make_approvals();      // turns that wait for a second key
std::unique_ptr<Workload> make_budgets();        // limits that bite
std::unique_ptr<Workload> make_locks();          // training locks
std::unique_ptr<Workload> make_tools();          // turns whose model asks for tools
std::unique_ptr<Workload> make_constitutions();  // versions that change under running sessions

}  // namespace soma::sim
