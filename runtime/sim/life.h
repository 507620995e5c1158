// Whether a simulated process lives. Every call between the host and the world passes here.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "runtime/sim/faults.h"
#include "runtime/sim/timeline.h"
#include "runtime/sim/trace.h"
#include "schemas/base/ids.h"

namespace soma::sim {

// What all parts of a simulation share.
struct Ground {
  Ground(std::uint64_t s, Trace::Print print, const std::set<std::string>& without)
      : seed(s), trace(std::move(print)), faults(s, without) {}

  const std::uint64_t seed;
  std::int64_t birth_ms = kBirthMs;  // the wall clock when the world begins
  Timeline time;
  Trace trace;
  Faults faults;
  std::int64_t wall_offset_ms = 0;  // what clock jumps have added
  std::int64_t drift_ppm = 0;       // how much too fast the wall clock runs, since drift_from_us
  std::int64_t drift_from_us = 0;
  std::map<std::uint32_t, Offset>
      hidden_before;  // by partition: what retention seems to have taken

  void note(const std::string& text) { trace.line(time.now_us(), text); }
  std::int64_t drifted_us() const {
    return (time.now_us() - drift_from_us) * drift_ppm / 1'000'000;
  }
  std::int64_t wall_ms() const {
    return birth_ms + (time.now_us() + drifted_us()) / 1000 + wall_offset_ms;
  }
  void drift(std::int64_t ppm) {  // from now on; what has drifted stays
    wall_offset_ms += drifted_us() / 1000;
    drift_from_us = time.now_us();
    drift_ppm = ppm;
  }

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
  std::int64_t unreachable_until_us = 0;  // for clients' requests
  std::int64_t unheard_until_us = 0;      // its answers get lost
  std::int64_t log_cut_until_us = 0;      // it and the log do not reach each other
  bool head_was_hidden = false;           // it was told that the log's beginning is gone

  // A call from the host into the world; may be the last.
  bool enter() {
    if (alive && ground.faults.draw(Fault::kCrashInCall)) {
      ground.note(name + " dies in a call");
      if (!serving) ground.faults.count(Fault::kCrashInRecovery);
      alive = false;
    }
    return alive;
  }
  bool cut_off(std::int64_t until_us) const { return until_us > ground.time.now_us(); }
  bool paused() const { return paused_until_us > ground.time.now_us(); }
};

}  // namespace soma::sim
