// The benchmarks by name, for `soma bench` and for the programs of tests/bench.
#pragma once

#include <string>

#include "schemas/base/errors.h"
#include "tools/bench/figures.h"

namespace soma::bench {

struct Options {
  std::string engine;  // "embedded" or "kafka"
  std::string peer;    // "restate"; "embedded": our own other engine, beside `kafka`; or none
  std::string kafka;   // brokers that hold the log; empty: the embedded one
  std::size_t clients = 128;
  double seconds = 5;
  int runs = 3;              // of each side, in turn; medians are told
  bool profile = false;      // perf on the measured process, its report on stderr
  bool in_process = false;   // counter: the host's API instead of HTTP
  std::string soma;          // the binary under test
  std::string upstream;      // the scripted model server's binary
  std::size_t amount = 0;    // replay: events; timers: timers; actors: actors
  std::size_t tenants = 32;  // session, infer: clients belong to them in turn
  std::string folder;        // where data folders are made; empty: the system's temporary folder
};

Result<Outcome> bench_counter(const Options& options);
Result<Outcome> bench_session(const Options& options);
Result<Outcome> bench_infer(const Options& options);
Result<Outcome> bench_workflow(const Options& options);
Result<Outcome> bench_replay(const Options& options);
Result<Outcome> bench_projection(const Options& options);
Result<Outcome> bench_timers(const Options& options);
Result<Outcome> bench_actors(const Options& options);

}  // namespace soma::bench
