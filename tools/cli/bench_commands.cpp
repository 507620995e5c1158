// soma bench: ours and a peer under the same load, in turn; one line of JSON or a table.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <iostream>

#include "schemas/json/json_text.h"
#include "tools/bench/benches.h"
#include "tools/cli/commands.h"

namespace soma::cli {

namespace {

using Bench = Result<bench::Outcome> (*)(const bench::Options&);

int run_bench(const Context& context, const bench::Options& options, Bench which) {
  if (options.engine != "embedded" && options.engine != "kafka")
    return context.fail({Code::kInvalidArgument, "the engines are: embedded, kafka", "--engine"});
  if ((options.engine == "kafka") == options.kafka.empty())
    return context.fail({Code::kInvalidArgument,
                         "--engine kafka and --kafka BROKERS are given together or not at all",
                         "--kafka"});
  if (options.in_process && !options.kafka.empty())
    return context.fail(
        {Code::kNotSupported, "--in-process is measured on the embedded log", "--in-process"});
  const bool beside = options.peer == "embedded" && !options.kafka.empty();
  if (!options.peer.empty() && options.peer != "restate" && !beside)
    return context.fail({Code::kInvalidArgument,
                         "the peers known are: restate; with --engine kafka also embedded",
                         "--peer"});
  if (options.clients == 0 || options.clients > 4096)
    return context.fail({Code::kInvalidArgument, "clients must be 1 to 4096", "--clients"});
  if (!(options.seconds >= 0.5 && options.seconds <= 3600))
    return context.fail({Code::kInvalidArgument, "seconds must be 0.5 to 3600", "--seconds"});
  auto outcome = which(options);
  if (!outcome) return context.fail(outcome.error());
  if (context.table())
    std::cout << bench::to_table(*outcome);
  else
    std::cout << json_text(bench::to_json(*outcome)) << std::endl;
  for (const auto& g : outcome->gates)
    std::fprintf(stderr, "GATE %s %.4g %.4g %s\n", g.id.c_str(), g.measured, g.bar,
                 g.pass() ? "PASS" : "FAIL");
  return 0;
}

}  // namespace

void add_bench_commands(CLI::App& app, Context& context, const Wrap& run) {
  auto* group = app.add_subcommand("bench", "Measure this build, beside a peer where there is one");
  group->require_subcommand(1);
  group->footer("Example: soma bench counter --peer restate --clients 128 --seconds 10 -o json");
  auto o = std::make_shared<bench::Options>();
  std::error_code ignored;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", ignored);
  o->engine = "embedded";
  o->soma = self.string();
  o->upstream = (self.parent_path().parent_path() / "tests/support/scripted_upstream").string();
  const auto add = [&](const char* name, const char* what, Bench which) {
    auto* c = group->add_subcommand(name, what);
    c->add_option("--engine", o->engine, "embedded, or kafka");
    c->add_option("--kafka", o->kafka, "Brokers of --engine kafka; topics of the run stay there");
    c->add_option("--clients", o->clients, "Operations under way at a time");
    c->add_option("--seconds", o->seconds, "Of each run, after a second of warming up");
    c->add_option("--runs", o->runs, "Of each side, in turn; medians are told")
        ->check(CLI::Range(1, 20));
    c->add_option("--folder", o->folder, "Where data folders are made; must lie on a disk");
    c->add_flag("--profile", o->profile, "Profile our process with perf; the report to stderr");
    c->callback(run([&context, o, which] { return run_bench(context, *o, which); }));
    return c;
  };
  auto* counter = add("counter", "A durable counter: B1", bench::bench_counter);
  counter->add_option("--peer", o->peer,
                      "restate: installed with npm when missing; embedded: beside kafka");
  counter->add_flag("--in-process", o->in_process, "Through the host's own API, without HTTP");
  for (auto* c :
       {add("session", "Governed turns over an instant model: G4", bench::bench_session),
        add("infer", "Governed model calls over an instant model: G1", bench::bench_infer)})
    c->add_option("--upstream", o->upstream, "Program of the scripted model server");
}

}  // namespace soma::cli
