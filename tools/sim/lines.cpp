// Members of a line.
#include "tools/sim/lines.h"

#include <algorithm>

namespace soma::simulate {

namespace json = boost::json;

namespace {

constexpr double kCommandsPerHour = 50.0 * 3600;
constexpr int kLeastKinds = 3;

double hours(const sim::Report& r) { return static_cast<double>(r.simulated_us) / 3.6e9; }

}  // namespace

double cluster_hours(const sim::Report& r) {
  const auto kinds = std::count_if(r.faults.begin(), r.faults.end(),
                                   [](const auto& fault) { return fault.second > 0; });
  if (kinds < kLeastKinds) return 0;
  return std::min(hours(r), static_cast<double>(r.decided) / kCommandsPerHour);
}

json::object to_json(const sim::Report& r) {
  json::object faults;
  for (const auto& [name, count] : r.faults) faults[name] = count;
  json::object out{{"seed", r.seed},
                   {"steps", r.steps},
                   {"simulated_hours", hours(r)},
                   {"cluster_hours", cluster_hours(r)},
                   {"lives", r.lives},
                   {"commands", r.commands},
                   {"acknowledged", r.acknowledged},
                   {"decided", r.decided},
                   {"events", r.events},
                   {"frames", r.frames},
                   {"voided", r.voided},
                   {"settled_s", static_cast<double>(r.settled_us) / 1e6},
                   {"faults", std::move(faults)},
                   {"trace", r.trace_hash},
                   {"ok", !r.violation}};
  if (r.violation)
    out["violation"] = {{"invariant", r.violation->invariant},
                        {"step", r.violation_step},
                        {"position", to_string(r.violation->at)},
                        {"what", r.violation->what}};
  return out;
}

}  // namespace soma::simulate
