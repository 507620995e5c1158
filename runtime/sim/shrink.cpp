// Greedy: what can be left out is left out; then again, until nothing more can.
#include "runtime/sim/shrink.h"

namespace soma::sim {

namespace {

class Shrinker {
 public:
  Shrinker(Options options, Report failed, std::uint64_t budget,
           const std::function<void(const Options&, const Report&)>& on_smaller)
      : best_{std::move(options), std::move(failed)}, budget_(budget), on_smaller_(on_smaller) {}

  Shrunk run() {
    // What happened after the violation is not needed.
    if (best_.report.violation_step < best_.options.steps) try_steps(best_.report.violation_step);
    for (bool smaller = true; smaller && best_.tried < budget_;) {
      smaller = without_names();
      smaller = fewer_clients() || smaller;
      smaller = fewer_steps() || smaller;
    }
    return best_;
  }

 private:
  bool attempt(Options options) {
    if (best_.tried >= budget_) return false;
    ++best_.tried;
    Report r = sim::run(options);
    if (!r.violation || r.violation->invariant != best_.report.violation->invariant) return false;
    best_.options = std::move(options);
    best_.report = std::move(r);
    if (on_smaller_) on_smaller_(best_.options, best_.report);
    return true;
  }

  bool try_steps(std::uint64_t steps) {
    Options o = best_.options;
    o.steps = steps;
    return attempt(std::move(o));
  }

  bool without_names() {
    bool smaller = false;
    std::vector<std::string> names = workload_names();
    for (const auto& [name, count] : best_.report.faults)
      if (count > 0) names.push_back(name);
    for (const auto& name : names) {
      if (best_.options.without.contains(name)) continue;
      Options o = best_.options;
      o.without.insert(name);
      smaller = attempt(std::move(o)) || smaller;
    }
    return smaller;
  }

  bool fewer_clients() {
    for (std::size_t n : {std::size_t{1}, std::size_t{2}, std::size_t{4}}) {
      if (best_.options.clients != 0 && best_.options.clients <= n) return false;
      Options o = best_.options;
      o.clients = n;
      if (attempt(std::move(o))) return true;
    }
    return false;
  }

  // The violation need not come with every smaller number: each is tried, none is assumed.
  bool fewer_steps() {
    bool smaller = false;
    for (std::uint64_t part = 2; part <= 64 && best_.options.steps > 1; part *= 2)
      while (best_.tried < budget_ && best_.options.steps / part > 0 &&
             try_steps(best_.options.steps - best_.options.steps / part))
        smaller = true;
    return smaller;
  }

  Shrunk best_;
  const std::uint64_t budget_;
  const std::function<void(const Options&, const Report&)>& on_smaller_;
};

}  // namespace

Shrunk shrink(Options options, Report failed, std::uint64_t budget,
              const std::function<void(const Options&, const Report&)>& on_smaller) {
  return Shrinker(std::move(options), std::move(failed), budget, on_smaller).run();
}

}  // namespace soma::sim
