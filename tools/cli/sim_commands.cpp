// sim: seeded worlds in one thread; a failure is reproduced by its seed.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <chrono>
#include <filesystem>
#include <iostream>

#include "runtime/sim/world.h"
#include "runtime/telemetry/log.h"
#include "schemas/json/json_text.h"
#include "tools/cli/commands.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

struct RunOptions {
  std::uint64_t seed = 0;
  std::string seeds;
  std::uint64_t steps = 20'000;
  double budget_s = 0;
  bool trace = false;
};

json::object to_json(const sim::Report& r) {
  json::object faults;
  for (const auto& [name, count] : r.faults) faults[name] = count;
  json::object out{{"seed", r.seed},
                   {"steps", r.steps},
                   {"simulated_hours", static_cast<double>(r.simulated_us) / 3.6e9},
                   {"lives", r.lives},
                   {"commands", r.commands},
                   {"acknowledged", r.acknowledged},
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

Result<std::pair<std::uint64_t, std::uint64_t>> range_of(const RunOptions& o) {
  if (o.seeds.empty()) return std::pair{o.seed, o.seed};
  try {
    const auto dots = o.seeds.find("..");
    const std::uint64_t first = std::stoull(o.seeds.substr(0, dots));
    const std::uint64_t last =
        dots == std::string::npos ? first : std::stoull(o.seeds.substr(dots + 2));
    if (first <= last) return std::pair{first, last};
  } catch (const std::exception&) {
  }
  return fail(Code::kInvalidArgument, "seeds are A..B with A not above B, as 1..200", "--seeds");
}

int run_seeds(const Context& context, const RunOptions& o) {
  auto range = range_of(o);
  if (!range) return context.fail(range.error());
  runtime::configure_logging({runtime::LogLevel::kOff, runtime::LogOptions::Format::kText});
  const auto began = std::chrono::steady_clock::now();
  bool ok = true;
  for (std::uint64_t seed = range->first; seed <= range->second; ++seed) {
    sim::Options options;
    options.seed = seed;
    options.steps = o.steps;
    if (o.trace) options.print = [](const std::string& line) { std::cerr << line << "\n"; };
    const sim::Report report = sim::run(options);
    std::cout << json_text(to_json(report)) << std::endl;
    if (report.violation) {
      ok = false;
      if (!o.trace)
        std::cerr << "soma: seed " << seed << " violates " << report.violation->invariant
                  << "; see how: soma sim run --seed " << seed << " --steps " << o.steps
                  << " --trace\n";
    }
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - began;
    if (o.budget_s > 0 && spent.count() >= o.budget_s) break;
  }
  return ok ? 0 : exit_code_of(Code::kCorrupt);
}

// The planted bugs are not in this binary: another one, built beside it for tests, holds them.
int run_canaries(const Context& context, const std::string& given) {
  std::string path = given;
  if (path.empty()) {
    std::error_code error;
    const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
    path = (self.parent_path().parent_path() / "tests/simulation/canary_sim_test").string();
  }
  if (::access(path.c_str(), X_OK) != 0)
    return context.fail(
        {Code::kNotFound,
         "no canaries at " + path + "; build them with `ninja canary_sim_test`, or give --binary",
         "--binary"});
  ::execl(path.c_str(), path.c_str(), nullptr);
  return context.fail({Code::kInternal, path + " could not be run", {}});
}

}  // namespace

void add_sim_commands(CLI::App& app, Context& context, const Wrap& run) {
  auto* sim = app.add_subcommand("sim", "Seeded simulation of the host, with faults")
                  ->require_subcommand(1);
  auto o = std::make_shared<RunOptions>();
  auto* seeds = sim->add_subcommand("run", "One world per seed; a JSON line for each");
  seeds->footer("Example: soma sim run --seeds 1..200 --steps 20000");
  auto* seed = seeds->add_option("--seed", o->seed, "One seed");
  seeds->add_option("--seeds", o->seeds, "A..B, both included")->excludes(seed);
  seeds->add_option("--steps", o->steps, "Steps with faults, before all must settle")
      ->check(CLI::Range(1, 1'000'000'000));
  seeds->add_option("--budget", o->budget_s, "Stop after so many seconds of real time");
  seeds->add_flag("--trace", o->trace, "Every line of the trace on stderr");
  seeds->callback(run([&context, o] { return run_seeds(context, *o); }));
  auto binary = std::make_shared<std::string>();
  auto* canaries =
      sim->add_subcommand("canaries", "Plants bugs, and checks that the simulator finds each");
  canaries->footer("Example: soma sim canaries");
  canaries->add_option("--binary", *binary, "The test binary that holds the planted bugs");
  canaries->callback(run([&context, binary] { return run_canaries(context, *binary); }));
}

}  // namespace soma::cli
