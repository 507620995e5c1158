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
#include "tools/offline/folder.h"
#include "tools/sim/batch.h"
#include "tools/sim/failures.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

struct RunOptions {
  std::uint64_t seed = 0;
  std::string seeds;
  simulate::Batch batch;
  std::vector<std::string> without;
  std::string from;
  bool report = false;
  std::uint64_t tries = 2'000;
  std::string corpus = "tests/simulation/seeds.txt";
  bool run = false;
};

Result<simulate::Batch> batch_of(const RunOptions& o) {
  simulate::Batch batch = o.batch;
  const auto known = simulate::names_to_leave_out();
  for (const auto& name : o.without) {
    if (!known.contains(name)) {
      std::string all;
      for (const auto& k : known) all += (all.empty() ? "" : ", ") + k;
      return fail(Code::kInvalidArgument, name + " is none of " + all, "--without");
    }
    batch.without.insert(name);
  }
  if (o.from.empty()) return batch;
  auto log = offline::open_log(o.from);
  if (!log) return tl::unexpected(log.error());
  auto journal = sim::inherit(**log);
  if (!journal) return tl::unexpected(journal.error());
  batch.from = std::make_shared<const sim::Inherited>(std::move(*journal));
  batch.from_folder = o.from;
  return batch;
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
  auto made = batch_of(o);
  if (!made) return context.fail(made.error());
  simulate::Batch batch = std::move(*made);
  std::tie(batch.first, batch.last) = *range;
  auto totals = simulate::run_batch(batch, [&](const json::object& line) {
    const bool ok = line.at("ok").as_bool();
    if (!o.report || !ok) std::cout << json_text(line) << std::endl;
    if (ok || batch.trace) return;
    simulate::Batch one = batch;
    one.first = line.at("seed").to_number<std::uint64_t>();
    std::cerr << "soma: seed " << one.first << " violates "
              << std::string(line.at("violation").at("invariant").as_string())
              << "; make it small: " << simulate::command_of(one, "shrink")
              << "; see how: " << simulate::command_of(one, "run") << " --trace\n";
  });
  if (!totals) return context.fail(totals.error());
  if (o.report) std::cout << json_text(simulate::to_json(*totals)) << std::endl;
  return totals->failed == 0 ? 0 : exit_code_of(Code::kCorrupt);
}

int run_shrink(const Context& context, const RunOptions& o) {
  runtime::configure_logging({runtime::LogLevel::kOff, runtime::LogOptions::Format::kText});
  auto batch = batch_of(o);
  if (!batch) return context.fail(batch.error());
  batch->first = batch->last = o.seed;
  auto small =
      simulate::shrink(*batch, o.tries, [](const std::string& text) { std::cerr << text << "\n"; });
  if (!small) return context.fail(small.error());
  std::cout << json_text(*small) << std::endl;
  return 0;
}

int run_corpus(const Context& context, const RunOptions& o) {
  runtime::configure_logging({runtime::LogLevel::kOff, runtime::LogOptions::Format::kText});
  auto seeds = simulate::read_corpus(o.corpus);
  if (!seeds) return context.fail(seeds.error());
  bool ok = true;
  for (const auto& kept : *seeds) {
    json::object line{{"seed", kept.seed}, {"steps", kept.steps}, {"why", kept.why}};
    simulate::Batch batch;
    batch.first = batch.last = kept.seed;
    batch.steps = kept.steps;
    if (o.run) {
      auto totals = simulate::run_batch(batch, [&](const json::object& world) {
        line["ok"] = world.at("ok");
        if (world.contains("violation")) line["violation"] = world.at("violation");
      });
      if (!totals) return context.fail(totals.error());
      ok = ok && totals->failed == 0;
    }
    std::cout << json_text(line) << std::endl;
  }
  return ok ? 0 : exit_code_of(Code::kCorrupt);
}

// The planted bugs are not in this binary: another one, built beside it for tests, holds them.
int run_canaries(const Context& context, const std::string& given, bool list) {
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
  ::execl(path.c_str(), path.c_str(), list ? "--gtest_list_tests" : "--gtest_brief=0", nullptr);
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
  const auto add_world = [&](CLI::App* to) {
    to->add_option("--steps", o->batch.steps, "Steps with faults, before all must settle")
        ->check(CLI::Range(1, 1'000'000'000));
    to->add_option("--without", o->without, "A kind of fault or a workload that is left out");
    to->add_option("--from", o->from, "A data folder whose journal is the beginning of each world");
    to->add_option("--clients", o->batch.clients, "At most so many; 0: as the seed says");
  };
  add_world(seeds);
  seeds->add_option("--budget", o->batch.budget_s, "Stop after so many seconds of real time");
  seeds->add_option("--hours", o->batch.hours, "Stop after so many cluster-hours");
  seeds->add_option("--jobs", o->batch.jobs, "Processes beside each other")
      ->check(CLI::Range(1, 64));
  seeds->add_flag("--report", o->report,
                  "One line of totals, with each fault's count, and lines of failed worlds only");
  seeds->add_flag("--trace", o->batch.trace, "Every line of the trace on stderr");
  seeds->callback(run([&context, o] { return run_seeds(context, *o); }));
  auto* shrink = sim->add_subcommand("shrink", "Makes a failing world small");
  shrink->footer("Example: soma sim shrink --seed 7 --steps 20000");
  shrink->add_option("--seed", o->seed, "That fails")->required();
  shrink->add_option("--tries", o->tries, "Worlds to run at most")->check(CLI::Range(1, 1'000'000));
  add_world(shrink);
  shrink->callback(run([&context, o] { return run_shrink(context, *o); }));
  auto* corpus = sim->add_subcommand("corpus", "Seeds that once showed a bug");
  corpus->footer("Example: soma sim corpus --run");
  corpus->add_option("--file", o->corpus, "Lines of SEED STEPS WHY");
  corpus->add_flag("--run", o->run, "Runs each; exit 9 when one fails again");
  corpus->callback(run([&context, o] { return run_corpus(context, *o); }));
  auto binary = std::make_shared<std::string>();
  auto list = std::make_shared<bool>(false);
  auto* canaries =
      sim->add_subcommand("canaries", "Plants bugs, and checks that the simulator finds each");
  canaries->footer("Example: soma sim canaries");
  canaries->add_option("--binary", *binary, "The test binary that holds the planted bugs");
  canaries->add_flag("--list", *list, "Only their names");
  canaries->callback(
      run([&context, binary, list] { return run_canaries(context, *binary, *list); }));
}

}  // namespace soma::cli
