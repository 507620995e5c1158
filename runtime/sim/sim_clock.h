// The Clock port of one process: virtual time plus the jumps of the wall clock.
#pragma once

#include <map>
#include <memory>

#include "runtime/host/ports.h"
#include "runtime/sim/life.h"

namespace soma::sim {

// Owned by its process. Single-threaded.
class SimClock final : public runtime::Clock {
 public:
  explicit SimClock(std::shared_ptr<Life> life) : life_(std::move(life)) {}
  ~SimClock() override { *here_ = nullptr; }

  std::int64_t now_ms() const override { return life_->ground.wall_ms(); }
  std::int64_t steady_ms() const override { return life_->ground.time.now_us() / 1000; }
  void call_at(std::int64_t at_ms, std::function<void()> wake) override;
  void call_in(std::int64_t delay_ms, std::function<void()> wake) override;
  void jumped() { arm(); }  // the wall clock was set

 private:
  void arm();
  void ring();

  std::shared_ptr<Life> life_;
  using Alarms = std::multimap<std::int64_t, std::function<void()>>;
  Alarms by_wall_, by_steady_;
  std::int64_t armed_us_ = -1;  // of the earliest event on the timeline; -1: none
  std::shared_ptr<SimClock*> here_ = std::make_shared<SimClock*>(this);
};

}  // namespace soma::sim
