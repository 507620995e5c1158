// DBOS Transact, from npm, on a PostgreSQL of its own.
#pragma once

#include "tools/bench/benches.h"

namespace soma::bench {

// Workflows of three steps in its own process, `clients` of them under way. kUnavailable names what
// is not installed.
Result<Figures> run_dbos(const Options& options);
inline constexpr const char* kDbosDurable =
    "each step and each end committed by PostgreSQL (fsync, synchronous_commit), 16 connections";

}  // namespace soma::bench
