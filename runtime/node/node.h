// One node in one process: opens all parts, serves, drains.
#pragma once

#include "runtime/config/config.h"

namespace soma::runtime {

// Blocks until SIGTERM or SIGINT; prints the ready line on stdout. The exit code: 0; 8 when the
// data folder is in use; 9 when the log is damaged; 2 for a bad setting; 1 otherwise.
int run_dev(const config::Config& config);

// One of several nodes on one Kafka cluster and one PostgreSQL: stands by until it is its turn,
// then serves all partitions. Exit code 8 as well when another node took over: start it again.
int run_node(const config::Config& config);

}  // namespace soma::runtime
