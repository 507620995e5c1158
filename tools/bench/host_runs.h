// Work on a log or a host in this process, one run each: for `soma bench` and for the programs of
// tests/bench.
#pragma once

#include <cstdint>
#include <string>

#include "schemas/base/errors.h"
#include "tools/bench/benches.h"

namespace soma::bench {

// Events of counters written to a log, then read, judged by the fence, parsed and folded by one
// thread.
struct FoldRun {
  std::uint64_t events = 0;
  double seconds = 0, cpu_s = 0, rss_mb = 0;  // of the folding
};
Result<FoldRun> run_fold(const Options& options);

// Timers armed, the host restarted, a tenth of them due at one instant.
struct TimersRun {
  double armed_per_s = 0, restart_ms = 0, rss_mb = 0, cpu_s = 0;
  double firing_s = 0;  // from the first timer's time to the last firing
  std::uint64_t fired = 0, twice = 0, early = 0;
  Histogram others, instant, all;  // lateness: from a timer's time until its firing is durable
  bool each_once(std::uint64_t timers) const { return fired == timers && twice == 0 && early == 0; }
};
// kInvalidArgument when arming took longer than `arming_s`.
Result<TimersRun> run_timers(const Options& options, std::int64_t spread_s, std::int64_t arming_s);

// Counters filled with events, the host restarted, the first of them asked. Memory is resident
// memory: by active actor what the filling took; by idle one what the restarted host has above one
// with a single actor. The caller has no threads yet.
struct ActorsRun {
  std::uint64_t actors = 0, events = 0;
  double fill_events_per_s = 0, bytes_per_active = 0, bytes_per_idle = 0;
  double open_log_ms = 0, open_store_ms = 0, first_answer_ms = 0;
  double cpu_s = 0;   // of the filling
  double rss_mb = 0;  // of the restarted host, once it serves
};
inline constexpr std::size_t kActorsOutstanding = 1024;  // additions under way while filling
// `kept`: where the data folder goes afterwards; empty: it is removed.
Result<ActorsRun> run_actors(const Options& options, std::size_t events_each,
                             const std::string& kept = {});

// Workflows of three steps (three_steps.h), each an effect that is recorded before it begins and
// when it ends, with which the next is called for. `clients` of them under way.
Result<Figures> run_workflows(const Options& options);

}  // namespace soma::bench
