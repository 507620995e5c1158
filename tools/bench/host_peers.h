// The peers of what is measured on a host in this process: B5, B8, B9.
#pragma once

#include "tools/bench/benches.h"

namespace soma::bench {

// `amount` virtual objects of Restate with one addition each or more, its server stopped and
// started again: from its start to the first answer of one. kInternal when that one lost or doubled
// something.
struct RestateRestart {
  double first_answer_ms = 0, fill_ops_per_s = 0, rss_mb = 0;
};
Result<RestateRestart> restart_restate(const Options& options);

// `amount` delayed calls of Restate, a tenth of them due at one instant, its server restarted
// between their making and their first; lateness is taken when a call begins. As run_timers for
// ours.
struct RestateTimers {
  Figures lateness;
  double instant_p99_ms = 0;
};
Result<RestateTimers> run_restate_timers(const Options& options, std::int64_t spread_s,
                                         std::int64_t arming_s);

// Resident memory of a live actor of CAF that has handled one message. The caller has no threads
// yet.
Result<double> bytes_of_a_caf_actor(const Options& options);

}  // namespace soma::bench
