// What a run measured, and how runs become one result.
#pragma once

#include <array>
#include <boost/json/object.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "schemas/base/errors.h"

namespace soma::bench {

// Latencies in buckets of at most 3 % width, from 32 ns to 4 minutes. Not thread-safe.
class Histogram {
 public:
  void add(std::uint64_t ns);
  void merge(const Histogram& other);
  std::uint64_t count() const { return count_; }
  double at_ms(double share) const;  // upper edge of the bucket that holds that share

 private:
  static constexpr std::size_t kSteps = 32;  // per power of two
  std::array<std::uint64_t, 33 * kSteps> buckets_{};
  std::uint64_t count_ = 0;
};

// One run of one side.
struct Figures {
  double ops = 0;     // per second
  bool rated = true;  // that rate was measured; else it is told as none
  bool timed = true;  // so were latencies
  double p50_ms = 0, p99_ms = 0, p999_ms = 0;
  double cpu_s = 0;   // of the measured processes, load generator not counted
  double rss_mb = 0;  // at the end, same processes
  std::uint64_t errors = 0;
};
Figures figures_of(const Histogram& latencies, double seconds);
// A side that did nothing has no figures, and makes no ratio: kUnavailable, naming it.
Status did_something(const Figures& figures, const std::string& side);
Figures median(std::vector<Figures> runs);  // member by member; runs must not be empty

// The median of what `of` tells of a run; there must be one.
template <typename Run, typename Of>
double middle(const std::vector<Run>& runs, const Of& of) {
  std::vector<Figures> values;
  for (const auto& r : runs) values.push_back({.ops = of(r)});
  return median(std::move(values)).ops;
}

// A bar of a gate, and what was measured against it.
struct Gate {
  std::string id, what;
  double measured = 0, bar = 0;
  bool at_least = true;  // else at most
  bool pass() const { return at_least ? measured >= bar : measured <= bar; }
};

struct Outcome {
  std::string bench;
  std::string durability_ours, durability_peer;
  std::size_t clients = 0;
  double seconds = 0;  // of each run
  Figures ours, peer;
  std::string peer_name;  // empty: none was run
  std::vector<std::pair<std::string, double>> extra;
  std::vector<Gate> gates;
};

boost::json::object to_json(const Outcome& outcome);  // the line of `soma bench -o json`
std::string to_table(const Outcome& outcome);         // for people
std::string machine();                                // processor, cores, kernel, file system

}  // namespace soma::bench
