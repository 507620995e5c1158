// sim: seeded worlds in one thread; a failure is reproduced by its seed.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <filesystem>
#include <iostream>
#include <tuple>

#include "runtime/telemetry/log.h"
#include "schemas/json/json_text.h"
#include "tools/cli/commands.h"
#include "tools/sim/batch.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

struct RunOptions {
  std::uint64_t seed = 0;
  std::string seeds;
  simulate::Batch batch;
  bool report = false;
};

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
  simulate::Batch batch = o.batch;
  std::tie(batch.first, batch.last) = *range;
  auto totals = simulate::run_batch(batch, [&](const json::object& line) {
    const bool ok = line.at("ok").as_bool();
    if (!o.report || !ok) std::cout << json_text(line) << std::endl;
    if (!ok && !batch.trace)
      std::cerr << "soma: seed " << line.at("seed") << " violates "
                << std::string(line.at("violation").at("invariant").as_string())
                << "; see how: soma sim run --seed " << line.at("seed") << " --steps "
                << batch.steps << " --trace\n";
  });
  if (!totals) return context.fail(totals.error());
  if (o.report) std::cout << json_text(simulate::to_json(*totals)) << std::endl;
  return totals->failed == 0 ? 0 : exit_code_of(Code::kCorrupt);
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
  seeds->add_option("--steps", o->batch.steps, "Steps with faults, before all must settle")
      ->check(CLI::Range(1, 1'000'000'000));
  seeds->add_option("--budget", o->batch.budget_s, "Stop after so many seconds of real time");
  seeds->add_option("--hours", o->batch.hours, "Stop after so many cluster-hours");
  seeds->add_option("--jobs", o->batch.jobs, "Processes beside each other")
      ->check(CLI::Range(1, 64));
  seeds->add_flag("--report", o->report,
                  "One line of totals, with each fault's count, and lines of failed worlds only");
  seeds->add_flag("--trace", o->batch.trace, "Every line of the trace on stderr");
  seeds->callback(run([&context, o] { return run_seeds(context, *o); }));
  auto binary = std::make_shared<std::string>();
  auto* canaries =
      sim->add_subcommand("canaries", "Plants bugs, and checks that the simulator finds each");
  canaries->footer("Example: soma sim canaries");
  canaries->add_option("--binary", *binary, "The test binary that holds the planted bugs");
  canaries->callback(run([&context, binary] { return run_canaries(context, *binary); }));
}

}  // namespace soma::cli
