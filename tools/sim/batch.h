// A range of seeds, in this process or in several, until an end; and the totals.
#pragma once

#include <boost/json/object.hpp>
#include <functional>
#include <set>
#include <string>

#include "runtime/sim/inherited.h"
#include "schemas/base/errors.h"

namespace soma::simulate {

struct Batch {
  std::uint64_t first = 1, last = 1;
  std::uint64_t steps = 20'000;
  double budget_s = 0;            // of real time; 0: no end
  double hours = 0;               // cluster-hours in all; 0: no end
  unsigned jobs = 1;              // processes; 1: this one
  bool trace = false;             // on stderr
  std::set<std::string> without;  // see sim::Options
  std::size_t clients = 0;
  std::shared_ptr<const sim::Inherited> from;  // with what each world begins
  std::string from_folder;                     // whose journal that is
};

struct Totals {
  std::uint64_t seeds = 0, failed = 0;
  double cluster_hours = 0, simulated_hours = 0, wall_s = 0;
  boost::json::object sums;    // commands, events, … over all worlds
  boost::json::object faults;  // by kind
};

// `on_line` gets each world's line, in the order in which worlds end. A worker that dies is a
// failed world whose violation is `abort`. An error when no worker can be started.
Result<Totals> run_batch(const Batch& batch,
                         const std::function<void(const boost::json::object&)>& on_line);

boost::json::object to_json(const Totals& totals);

}  // namespace soma::simulate
