// The simulated log under the conformance suite.
#include <cstdlib>

#include "events/sim/sim_log.h"
#include "tests/conformance/engine.h"

namespace soma::events::conformance {

namespace {

class SimEngine final : public Engine {
 public:
  explicit SimEngine(std::uint32_t partitions) : log_(SimOptions{partitions}) {}
  Log& log() override { return log_; }
  void until(const std::function<bool()>& done) override {
    while (!done())
      if (!log_.step()) std::abort();  // nothing left to do, and still not done
  }
  void reopen() override { log_.crash(log_.pending()); }

 private:
  SimLog log_;
};

}  // namespace

std::unique_ptr<Engine> make_engine(std::uint32_t partitions) {
  return std::make_unique<SimEngine>(partitions);
}

}  // namespace soma::events::conformance
