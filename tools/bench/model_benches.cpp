// G4 and G1: governed session turns and model calls over an instant model.
#include "tools/bench/governed_load.h"

namespace soma::bench {

namespace {

constexpr double kLatencySeconds = 2;  // of the run with one client

HttpScript infer_script(const Options& o, std::uint16_t port, const Tenants& tenants) {
  HttpScript s = script_of(o, port);
  std::vector<std::string> requests;
  for (const auto& headers : tenants)
    requests.push_back(http_request(
        "POST", "/v1/chat/completions",
        R"({"messages":[{"role":"user","content":"Say hello to the bench."}],"max_tokens":32})",
        headers));
  s.begin = [requests](std::size_t i) { return requests[i % requests.size()]; };
  return s;
}

// The same model call, straight to the upstream.
HttpScript direct_script(const Options& o, std::uint16_t port, const Tenants&) {
  HttpScript s = script_of(o, port);
  const std::string request = http_request(
      "POST", "/v1/chat/completions",
      R"({"model":"default","stream":true,"messages":[{"role":"user","content":"Say hello to the bench."}],"max_tokens":32})");
  s.begin = [request](std::size_t) { return request; };
  return s;
}

HttpScript embed_script(const Options& o, std::uint16_t port, const Tenants&) {
  HttpScript s = script_of(o, port);
  const std::string request =
      http_request("POST", "/v1/embeddings", R"({"model":"default","input":["What is new?"]})");
  s.begin = [request](std::size_t) { return request; };
  return s;
}

using MakeScript = HttpScript (*)(const Options&, std::uint16_t, const Tenants&);

// What one run gives: figures under load; with one client, ours and the upstream alone.
struct Run {
  Figures loaded, single;
  double upstream_p50_ms = 0, boot_ms = 0;
};

// Nothing done is no latency, and would pass for a short one.
Result<Figures> measured(const Options& o, const HttpScript& script,
                         const std::vector<pid_t>& pids) {
  auto f = measure(o, script, pids);
  if (!f) return f;
  if (auto ok = did_something(*f, "what is measured"); !ok) return tl::unexpected(ok.error());
  return f;
}

Result<Run> run_once(const Options& o, MakeScript script,
                     const std::vector<MakeScript>& upstream_parts) {
  auto setting = set_up(o);
  if (!setting) return tl::unexpected(setting.error());
  Run run;
  run.boot_ms = setting->soma->boot_ms();
  const std::vector<pid_t> ours{setting->soma->pid()};
  Options one = o;
  one.clients = 1;
  one.seconds = kLatencySeconds;
  one.profile = false;
  auto f = measured(one, script(one, setting->soma->port(), setting->tenants), ours);
  if (!f) return tl::unexpected(f.error());
  run.single = *f;
  one.seconds = 1;
  for (const auto part : upstream_parts) {
    f = measured(one, part(one, setting->upstream->port(), setting->tenants),
                 {setting->upstream->pid()});
    if (!f) return tl::unexpected(f.error());
    run.upstream_p50_ms += f->p50_ms;
  }
  f = measured(o, script(o, setting->soma->port(), setting->tenants), ours);
  if (!f) return tl::unexpected(f.error());
  run.loaded = *f;
  return run;
}

Result<Outcome> run_all(const Options& o, const char* name, MakeScript script,
                        const std::vector<MakeScript>& upstream_parts) {
  Outcome out;
  out.bench = name;
  out.clients = o.clients;
  out.seconds = o.seconds;
  out.durability_ours = ours_durable(o);
  std::vector<Figures> loaded, single;
  std::vector<Figures> rest;  // ops: boot; p50: upstream
  for (int i = 0; i < o.runs; ++i) {
    auto run = run_once(o, script, upstream_parts);
    if (!run) return tl::unexpected(run.error());
    loaded.push_back(run->loaded);
    single.push_back(run->single);
    rest.push_back({.ops = run->boot_ms, .p50_ms = run->upstream_p50_ms});
  }
  out.ours = median(loaded);
  const Figures s = median(single), r = median(rest);
  out.extra = {{"single_p50_ms", s.p50_ms},
               {"single_p99_ms", s.p99_ms},
               {"upstream_p50_ms", r.p50_ms},
               {"added_p50_ms", s.p50_ms - r.p50_ms},
               {"boot_ms", r.ops}};
  return out;
}

double extra_of(const Outcome& o, std::string_view name) {
  for (const auto& [n, v] : o.extra)
    if (n == name) return v;
  return 0;
}

}  // namespace

Result<Outcome> bench_session(const Options& o) {
  auto out = run_all(o, "session", session_script, {embed_script, direct_script});
  if (out)
    out->gates = {
        {"G4.turns", "turns/s", out->ours.ops, 3000, true},
        {"G4.overhead", "ms added at one client, p50", extra_of(*out, "added_p50_ms"), 5, false},
        {"G4.boot", "ms to ready", extra_of(*out, "boot_ms"), 2000, false}};
  return out;
}

Result<Outcome> bench_infer(const Options& o) {
  auto out = run_all(o, "infer", infer_script, {direct_script});
  if (out)
    out->gates = {
        {"G1.added", "ms added at one client, p50", extra_of(*out, "added_p50_ms"), 0.5, false}};
  return out;
}

}  // namespace soma::bench
