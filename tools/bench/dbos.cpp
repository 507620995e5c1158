// The peer of workflows: its program measures itself, in the same closed loop as ours.
#include "tools/bench/dbos.h"

#include <boost/json.hpp>
#include <iostream>

#include "projections/postgres/private_cluster.h"
#include "tools/bench/npm.h"
#include "tools/bench/stack.h"

namespace soma::bench {

namespace json = boost::json;

namespace {

constexpr const char* kVersion = "5.3.0";
constexpr int kStartMs = 60'000;

constexpr const char* kProgram = R"js(import {DBOS} from "@dbos-inc/dbos-sdk";
const clients = Number(process.env.BENCH_CLIENTS), seconds = Number(process.env.BENCH_SECONDS);
const steps = [1, 2, 3].map((n) => DBOS.registerStep(async () => n, {name: `step${n}`}));
const workflow = DBOS.registerWorkflow(async () => {
  for (const step of steps) await step();
}, {name: "three_steps"});
const log = console.error, none = () => {};
DBOS.setConfig({name: "bench", systemDatabaseUrl: process.env.DATABASE_URL, systemDatabasePoolSize: 16,
                runAdminServer: false, logger: {info: none, debug: none, warn: log, error: log}});
await DBOS.launch();
const taken = [];
let errors = 0, counting = false, stopping = false;
async function client() {
  while (!stopping) {
    const began = performance.now();
    try {
      await workflow();
      if (counting) taken.push(performance.now() - began);
    } catch (e) {
      if (++errors === 1) log(e);
    }
  }
}
const tell = (o) => console.log(JSON.stringify(o));
const sleep = (s) => new Promise((done) => setTimeout(done, s * 1000));
const all = Array.from({length: clients}, client);
await sleep(1);
tell({event: "measuring"});
counting = true;
const from = performance.now();
await sleep(seconds);
counting = false;
const took = (performance.now() - from) / 1000;
taken.sort((a, b) => a - b);
const at = (share) => taken[Math.min(taken.length - 1, Math.floor(share * taken.length))] ?? 0;
tell({event: "measured", ops: taken.length / took, p50_ms: at(0.5), p99_ms: at(0.99), p999_ms: at(0.999), errors});
stopping = true;
await Promise.all(all);
await DBOS.shutdown();
)js";

// The folder of its socket, out of the words that libpq takes; as the URL that node's driver takes.
std::string node_url(const std::string& libpq) {
  const std::string host = libpq.substr(5, libpq.find(' ') - 5);
  return "postgresql://soma@localhost/postgres?host=" + host;
}

Result<json::object> event(Child& child, int timeout_ms, const std::string& log) {
  auto line = child.line(timeout_ms);
  if (!line) return fail(Code::kUnavailable, "DBOS did not run; see " + log);
  boost::system::error_code bad;
  json::value v = json::parse(*line, bad);
  if (bad || !v.is_object()) return fail(Code::kUnavailable, "DBOS said: " + *line);
  return v.get_object();
}

}  // namespace

Result<Figures> run_dbos(const Options& o) {
  auto package = installed({std::string("dbos-") + kVersion, "the DBOS SDK (about 12 MB)",
                            std::string("\"@dbos-inc/dbos-sdk\":\"") + kVersion + "\"",
                            "workflow.mjs", kProgram});
  if (!package) return tl::unexpected(package.error());
  DataFolder folder(o.folder);
  if (!folder.ok()) return tl::unexpected(folder.error());
  auto postgres = projections::PrivateCluster::at(folder.path() + "/data");
  if (auto ok = postgres->ensure(); !ok) return tl::unexpected(ok.error());
  const std::string log = package->string() + "/dbos.log";  // kept: it tells why it did not run
  auto child = Child::start({{"node", "--no-deprecation", "workflow.mjs"},
                             {{"BENCH_CLIENTS", std::to_string(o.clients)},
                              {"BENCH_SECONDS", std::to_string(o.seconds)},
                              {"DATABASE_URL", node_url(postgres->url())},
                              {"NODE_ENV", "production"}},
                             package->string(),
                             log,
                             true});
  if (!child) return tl::unexpected(child.error());
  if (auto began = event(**child, kStartMs, log); !began) return tl::unexpected(began.error());
  const std::vector<pid_t> pids{(*child)->pid(), postgres->pid()};
  const Usage before = usage_of(pids);
  auto measured = event(**child, static_cast<int>(o.seconds * 1000) + kStartMs, log);
  if (!measured) return tl::unexpected(measured.error());
  const Usage after = usage_of(pids);
  const auto number = [&](const char* name) { return measured->at(name).to_number<double>(); };
  Figures f;
  f.ops = number("ops");
  f.p50_ms = number("p50_ms");
  f.p99_ms = number("p99_ms");
  f.p999_ms = number("p999_ms");
  f.errors = measured->at("errors").to_number<std::uint64_t>();
  if (f.errors > 0)
    std::cerr << "bench: " << f.errors << " workflows of the peer failed; see " << log << std::endl;
  f.cpu_s = after.cpu_s - before.cpu_s;
  f.rss_mb = after.rss_mb;
  return f;
}

}  // namespace soma::bench
