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

struct Bench {
  const char* name;
  const char* what;
  Result<bench::Outcome> (*run)(const bench::Options&);
  bool on_kafka = false;  // can have its log there
  // Peers that are run, installed when missing: "one, another".
  const char* runs = "";
  const char* peer = "";  // one whose program was not written, and what it would need
  const char* needs = "";
  const char* amount = nullptr;  // what there can be more or less of
  std::size_t least = 0, most = 0;
};

constexpr Bench kBenches[] = {
    {"counter", "A durable counter: B1", bench::bench_counter, true, "restate"},
    {"session", "Governed turns over an instant model: G4", bench::bench_session, true},
    {"infer", "Governed model calls over an instant model: G1", bench::bench_infer, true},
    {"workflow", "Workflows of three durable steps, in this process: B2", bench::bench_workflow,
     false, "dbos", "temporal", "the Temporal server (temporal server start-dev) and its SDK"},
    {"replay", "Events read, checked and folded by one core: B6", bench::bench_replay, false,
     "pekko", "", "", "--events", 100, 100'000'000},
    {"projection", "All views made anew in PostgreSQL: B7", bench::bench_projection, true, "pekko"},
    {"timers", "Durable timers over a restart, a tenth at one instant: B9", bench::bench_timers,
     false, "restate", "temporal", "the Temporal server (temporal server start-dev) and its SDK",
     "--timers", 10, 10'000'000},
    {"actors", "Many actors: time to the first answer, memory by actor: B5, B8",
     bench::bench_actors, false, "restate, caf, pekko", "kafka-streams",
     "a JDK, a broker and org.apache.kafka:kafka-streams from Maven", "--actors", 1, 10'000'000},
};

// Nothing, or why these options do not go together.
Status possible(const Bench& b, const bench::Options& o) {
  const std::string name = b.name, peer = b.peer;
  if (o.engine != "embedded" && o.engine != "kafka")
    return fail(Code::kInvalidArgument, "the engines are: embedded, kafka", "--engine");
  if ((o.engine == "kafka") == o.kafka.empty())
    return fail(Code::kInvalidArgument,
                "--engine kafka and --kafka BROKERS are given together or not at all", "--kafka");
  if (!b.on_kafka && !o.kafka.empty())
    return fail(Code::kNotSupported, "bench " + name + " is measured on the embedded log",
                "--engine");
  if (o.in_process && !o.kafka.empty())
    return fail(Code::kNotSupported, "--in-process is measured on the embedded log",
                "--in-process");
  if (o.clients == 0 || o.clients > 4096)
    return fail(Code::kInvalidArgument, "clients must be 1 to 4096", "--clients");
  if (!(o.seconds >= 0.5 && o.seconds <= 3600))
    return fail(Code::kInvalidArgument, "seconds must be 0.5 to 3600", "--seconds");
  const std::string runs = b.runs;
  const bool beside = name == "counter" && o.peer == "embedded" && !o.kafka.empty();
  if (o.peer.empty() || (", " + runs + ", ").find(", " + o.peer + ", ") != std::string::npos ||
      beside)
    return {};
  if (o.peer == peer)
    return fail(Code::kNotSupported,
                "nothing was measured: bench " + name + " has no program for " + peer +
                    " yet; it would need " + b.needs,
                "--peer");
  return fail(Code::kInvalidArgument,
              "bench " + name + (runs.empty() ? " runs no peer" : " knows the peers: " + runs) +
                  (name == "counter" ? ", and with --engine kafka embedded" : "") + ", not `" +
                  o.peer + "`",
              "--peer");
}

int run_bench(const Context& context, const bench::Options& options, const Bench& which) {
  if (auto ok = possible(which, options); !ok)
    return context.fail(ok.error(),
                        ok.error().code == Code::kNotSupported && ok.error().field == "--peer"
                            ? "leave out --peer to measure ours alone"
                            : "");
  auto outcome = which.run(options);
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
  for (const Bench& bench : kBenches) {
    auto* c = group->add_subcommand(bench.name, bench.what);
    const std::string name = bench.name;
    c->footer("Example: soma bench " + name + " --runs 1 -o json");
    c->add_option("--engine", o->engine, "embedded, or kafka");
    c->add_option("--kafka", o->kafka, "Brokers of --engine kafka; topics of the run stay there");
    c->add_option("--clients", o->clients, "Operations under way at a time");
    c->add_option("--seconds", o->seconds, "Of each run, after a second of warming up");
    c->add_option("--runs", o->runs, "Of each side, in turn; medians are told")
        ->check(CLI::Range(1, 20));
    c->add_option("--folder", o->folder, "Where data folders are made; must lie on a disk");
    c->add_flag("--profile", o->profile, "Profile our process with perf; the report to stderr");
    if (name == "counter") {
      c->add_option("--peer", o->peer,
                    "restate: installed with npm when missing; embedded: beside kafka");
      c->add_flag("--in-process", o->in_process, "Through the host's own API, without HTTP");
    } else {
      c->add_option("--peer", o->peer,
                    *bench.runs
                        ? std::string(bench.runs) + ": installed with npm or Maven when missing"
                        : "Another system; none has a program for this yet");
    }
    if (name == "session" || name == "infer" || name == "projection")
      c->add_option("--upstream", o->upstream, "Program of the scripted model server");
    if (bench.amount)
      c->add_option(bench.amount, o->amount, "So many in a run")
          ->check(CLI::Range(bench.least, bench.most));
    c->callback(run([&context, o, &bench] { return run_bench(context, *o, bench); }));
  }
}

}  // namespace soma::cli
