// Apache Pekko, from Maven: its persistence, its actors, its projections.
#pragma once

#include <vector>

#include "tools/bench/benches.h"

namespace soma::bench {

struct PekkoRun {
  double amount = 0, seconds = 0, cpu_s = 0;  // events or rows
};
Figures middle_of(const std::vector<PekkoRun>& runs);

// Events of a thousand actors recovered from LevelDB by its persistence, after a recovery that
// warmed the compiler up.
Result<PekkoRun> replay_by_pekko(const Options& options);

// Heap of a live actor that has handled one message, after collections: what sharding keeps of an
// entity until it is passivated.
Result<double> bytes_of_a_pekko_actor(const Options& options);

// Rows written by a JDBC projection, exactly once, 5,000 in a transaction, on a PostgreSQL of its
// own that is not waited for on disk, as ours.
Result<PekkoRun> projection_by_pekko(const Options& options);

}  // namespace soma::bench
