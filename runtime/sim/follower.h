// A machine that stands by: the host's own standbys, before a host starts on it.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "runtime/host/standby.h"
#include "runtime/sim/process.h"

namespace soma::sim {

// Owned by the world. The destructor is kill -9, unless it handed over.
class Follower {
 public:
  explicit Follower(const ProcessParts& parts);
  ~Follower();

  void step();       // it is told of some frames, of others not; at times it looks by itself
  void hand_over();  // a host takes over what is on the disk
  const Life& life() const { return *life_; }
  SimStore& disk() { return *parts_.disk; }

 private:
  const ProcessParts parts_;
  Rng rng_;
  std::shared_ptr<Life> life_;
  std::unique_ptr<WireLog> log_;
  std::unique_ptr<const events::EntryReader> entries_;
  std::unique_ptr<SimClock> clock_;
  std::unique_ptr<runtime::StateStore> store_;
  runtime::Arrivals arrivals_;
  std::vector<events::FrameReader> readers_;  // by partition, as a node follows the log
  std::vector<std::unique_ptr<runtime::Standby>> standbys_;
};

}  // namespace soma::sim
