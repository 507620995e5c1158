// Mailboxes of one process, run one task at a time in an order that the seed chooses.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "runtime/host/executor.h"
#include "runtime/sim/life.h"

namespace soma::sim {

// How the next task is chosen among the mailboxes that have one. A mailbox's own order always
// holds.
enum class Order : std::uint8_t {
  kArrival,  // as posted
  kRandom,
  kNewest,  // the mailbox filled last: starves the others for a while
  kCaf,     // CAF's testing scheduler
};

// What the world sees of a process's tasks.
class Tasks {
 public:
  virtual ~Tasks() = default;
  virtual bool ready() const = 0;
  virtual void run_one() = 0;
  virtual void drop() = 0;  // kill -9: what has not begun never runs
};

struct MadeExecutors {
  std::unique_ptr<runtime::ExecutorFactory> factory;  // for the host, which destroys it
  std::shared_ptr<Tasks> tasks;
};
MadeExecutors make_executors(Order order, std::shared_ptr<Life> life, Rng rng);

}  // namespace soma::sim
