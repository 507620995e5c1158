// What the conformance suite asks of an engine under test. One implementation is linked into each
// binary.
#pragma once

#include <functional>
#include <memory>

#include "events/log.h"

namespace soma::events::conformance {

class Engine {
 public:
  virtual ~Engine() = default;
  virtual Log& log() = 0;
  // Returns once `done` is true, letting the engine work meanwhile. `done` may be called from any
  // thread.
  virtual void until(const std::function<bool()>& done) = 0;
  // The process ends and another one opens the same log.
  virtual void reopen() = 0;
};

std::unique_ptr<Engine> make_engine(std::uint32_t partitions);

}  // namespace soma::events::conformance
