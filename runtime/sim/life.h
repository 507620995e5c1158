// Whether a simulated process lives. Every call between the host and the world passes here.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/sim/faults.h"
#include "runtime/sim/timeline.h"
#include "runtime/sim/trace.h"

namespace soma::sim {

// What all parts of a simulation share.
struct Ground {
  Ground(std::uint64_t s, Trace::Print print) : seed(s), trace(std::move(print)), faults(s) {}

  const std::uint64_t seed;
  Timeline time;
  Trace trace;
  Faults faults;
  std::int64_t wall_offset_ms = 0;  // what clock jumps have added

  void note(const std::string& text) { trace.line(time.now_us(), text); }
  std::int64_t wall_ms() const { return kBirthMs + time.now_us() / 1000 + wall_offset_ms; }

  static constexpr std::int64_t kBirthMs = 1'700'000'000'000;
};

// Of one process. Dead: calls out of it do nothing, and nothing reaches it. The world takes its
// remains away when the step that killed it has ended.
struct Life {
  Life(Ground& g, std::string n) : ground(g), name(std::move(n)) {}

  Ground& ground;
  const std::string name;
  bool alive = true;
  bool serving = false;  // has served at least once
  std::int64_t paused_until_us = 0;

  // A call from the host into the world; may be the last.
  bool enter() {
    if (alive && ground.faults.draw(Fault::kCrashInCall)) {
      ground.note(name + " dies in a call");
      if (!serving) ground.faults.count(Fault::kCrashInRecovery);
      alive = false;
    }
    return alive;
  }
  bool paused() const { return paused_until_us > ground.time.now_us(); }
};

}  // namespace soma::sim
