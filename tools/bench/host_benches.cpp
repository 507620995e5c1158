// B2, B5, B6, B8, B9: runs in this process, peers in turn with them, and what is told of both.
#include <functional>

#include "tools/bench/dbos.h"
#include "tools/bench/host_peers.h"
#include "tools/bench/host_runs.h"
#include "tools/bench/pekko.h"
#include "tools/bench/servers.h"

namespace soma::bench {

namespace {

constexpr std::size_t kGateClients = 128;
constexpr std::size_t kEvents = 1'000'000, kTimers = 20'000, kActors = 100'000;

Outcome outcome_of(const Options& o, const char* name, std::string durability) {
  Outcome out;
  out.bench = name;
  out.clients = o.clients;
  out.seconds = o.seconds;
  out.durability_ours = std::move(durability);
  return out;
}

// The runs of `run`, `peer` after each of them, or the first that failed. `peer` keeps what it
// measures.
template <typename Run>
auto all_runs(const Options& o, const Run& run, const std::function<Status()>& peer)
    -> Result<std::vector<std::decay_t<decltype(*run())>>> {
  std::vector<std::decay_t<decltype(*run())>> out;
  for (int i = 0; i < o.runs; ++i) {
    auto one = run();
    if (!one) return tl::unexpected(one.error());
    out.push_back(std::move(*one));
    if (auto ok = peer(); !ok) return tl::unexpected(ok.error());
  }
  return out;
}

// Nobody where no peer was asked for; else its runs go to `into`.
template <typename Of, typename Run>
std::function<Status()> peer_run(bool wanted, std::vector<Of>& into, const Run& run) {
  return [wanted, &into, run]() -> Status {
    if (!wanted) return {};
    auto one = run();
    if (!one) return tl::unexpected(one.error());
    into.push_back(std::move(*one));
    return {};
  };
}

Options with_amount(const Options& o, std::size_t usual) {
  Options out = o;
  if (out.amount == 0) out.amount = usual;
  return out;
}

}  // namespace

Result<Outcome> bench_workflow(const Options& o) {
  Outcome out = outcome_of(o, "workflow", ours_durable(o));
  out.extra = {{"steps", 3}};
  out.peer_name = o.peer;
  std::vector<Figures> ours, peer;
  for (int i = 0; i < o.runs; ++i) {
    auto f = run_workflows(o);
    if (!f) return tl::unexpected(f.error());
    if (auto ok = did_something(*f, "soma"); !ok) return tl::unexpected(ok.error());
    ours.push_back(*f);
    if (o.peer.empty()) continue;
    f = run_dbos(o);
    if (!f) return tl::unexpected(f.error());
    if (auto ok = did_something(*f, o.peer); !ok) return tl::unexpected(ok.error());
    peer.push_back(*f);
  }
  out.ours = median(std::move(ours));
  if (peer.empty()) return out;
  out.peer = median(std::move(peer));
  out.durability_peer = kDbosDurable;
  if (o.clients == kGateClients)
    out.gates = {
        {"B2", "x the peer's workflows/s", out.ours.ops / std::max(out.peer.ops, 1e-9), 20, true}};
  return out;
}

Result<Outcome> bench_replay(const Options& given) {
  const Options o = with_amount(given, kEvents);
  Outcome out = outcome_of(o, "replay", "reads a log that was synced before");
  std::vector<PekkoRun> peer;
  auto runs = all_runs(
      o, [&] { return run_fold(o); },
      peer_run(o.peer == "pekko", peer, [&] { return replay_by_pekko(o); }));
  if (!runs) return tl::unexpected(runs.error());
  out.clients = 1;
  out.ours.timed = false;
  out.ours.ops =
      middle(*runs, [](const FoldRun& r) { return static_cast<double>(r.events) / r.seconds; });
  out.ours.cpu_s = middle(*runs, [](const FoldRun& r) { return r.cpu_s; });
  out.ours.rss_mb = middle(*runs, [](const FoldRun& r) { return r.rss_mb; });
  out.seconds = middle(*runs, [](const FoldRun& r) { return r.seconds; });
  const double a_core =
      middle(*runs, [](const FoldRun& r) { return static_cast<double>(r.events) / r.cpu_s; });
  out.extra = {{"events", static_cast<double>(runs->front().events)},
               {"events_per_core_s", a_core}};
  out.gates = {{"B6", "events/s a core", a_core, 1e6, true}};
  if (peer.empty()) return out;
  out.peer_name = o.peer;
  out.durability_peer = "reads a LevelDB journal in its page cache; the second recovery is told";
  out.peer = middle_of(peer);
  const double its_core = middle(peer, [](const PekkoRun& r) { return r.amount / r.cpu_s; });
  out.extra.emplace_back("peer_events_per_core_s", its_core);
  out.gates.push_back({"B6.pekko", "x the peer's events/s a core", a_core / its_core, 1, true});
  return out;
}

Result<Outcome> bench_timers(const Options& given) {
  const Options o = with_amount(given, kTimers);
  const auto spread = static_cast<std::int64_t>(std::max(1.0, o.seconds));
  const auto arming = static_cast<std::int64_t>(10 + o.amount / 20'000);
  Outcome out = outcome_of(o, "timers", ours_durable(o));
  std::vector<RestateTimers> peer;
  auto runs = all_runs(
      o,
      [&]() -> Result<TimersRun> {
        auto run = run_timers(o, spread, arming);
        if (run && !run->each_once(o.amount))
          return fail(Code::kInternal, "of " + std::to_string(o.amount) + " timers " +
                                           std::to_string(run->fired) + " fired, " +
                                           std::to_string(run->twice) + " twice and " +
                                           std::to_string(run->early) + " early");
        return run;
      },
      peer_run(o.peer == "restate", peer,
               [&] { return run_restate_timers(o, spread, 30 + 2 * arming); }));
  if (!runs) return tl::unexpected(runs.error());
  std::vector<Figures> figures;
  for (const auto& r : *runs) {
    Figures f = figures_of(r.all, std::max(r.firing_s, 1e-3));
    f.rated = false;  // timers fire when they are due: the rate is the plan's
    f.cpu_s = r.cpu_s;
    f.rss_mb = r.rss_mb;
    figures.push_back(f);
  }
  out.ours = median(std::move(figures));
  out.clients = 1;
  out.extra = {
      {"timers", static_cast<double>(o.amount)},
      {"at_one_instant", static_cast<double>((o.amount + 9) / 10)},
      {"armed_per_s", middle(*runs, [](const TimersRun& r) { return r.armed_per_s; })},
      {"restart_ms", middle(*runs, [](const TimersRun& r) { return r.restart_ms; })},
      {"instant_p99_ms", middle(*runs, [](const TimersRun& r) { return r.instant.at_ms(0.99); })}};
  out.gates = {{"B9", "ms of lateness, p99", out.ours.p99_ms, 50, false}};
  if (peer.empty()) return out;
  out.peer_name = o.peer;
  out.durability_peer =
      "calls kept in its replicated log; late by when one begins, not when it is durable";
  std::vector<Figures> late;
  for (const auto& r : peer) late.push_back(r.lateness);
  out.peer = median(std::move(late));
  out.extra.emplace_back("peer_instant_p99_ms",
                         middle(peer, [](const RestateTimers& r) { return r.instant_p99_ms; }));
  out.gates.push_back({"B9.restate", "of the peer's p99",
                       out.ours.p99_ms / std::max(out.peer.p99_ms, 1e-9), 1, false});
  return out;
}

// B5 and B8 have peers of their own: who restarts, and who keeps actors in memory.
Outcome actors_beside(const Options& o, Outcome out, const std::vector<RestateRestart>& restarts,
                      const std::vector<double>& bytes, double first_ms, double idle_bytes) {
  out.peer_name = o.peer;
  out.peer.timed = false;
  if (!restarts.empty()) {
    out.durability_peer = "its replicated log with fsync of its WAL (default), one node";
    out.peer.ops = middle(restarts, [](const RestateRestart& r) { return r.fill_ops_per_s; });
    out.peer.rss_mb = middle(restarts, [](const RestateRestart& r) { return r.rss_mb; });
    const double its_ms =
        middle(restarts, [](const RestateRestart& r) { return r.first_answer_ms; });
    out.extra.emplace_back("peer_first_answer_ms", its_ms);
    out.gates.push_back(
        {"B5.restate", "of the peer's time to the first answer", first_ms / its_ms, 1, false});
    return out;
  }
  out.durability_peer = "none: its actors are in memory alone";
  out.peer.rated = false;
  const double its_bytes = middle(bytes, [](double b) { return b; });
  out.extra.emplace_back("peer_bytes_per_actor", its_bytes);
  out.gates.push_back(
      {"B8." + o.peer, "of the bytes of the peer's live actor", idle_bytes / its_bytes, 1, false});
  return out;
}

Result<Outcome> bench_actors(const Options& given) {
  const Options o = with_amount(given, kActors);
  Outcome out = outcome_of(o, "actors", ours_durable(o));
  std::vector<RestateRestart> restarts;
  std::vector<double> bytes;
  const auto live = [&] {
    return o.peer == "caf" ? bytes_of_a_caf_actor(o) : bytes_of_a_pekko_actor(o);
  };
  auto runs = all_runs(
      o, [&] { return run_actors(o, 1); },
      o.peer == "restate" ? peer_run(true, restarts, [&] { return restart_restate(o); })
                          : peer_run(!o.peer.empty(), bytes, live));
  if (!runs) return tl::unexpected(runs.error());
  const auto of = [&](double ActorsRun::*member) {
    return middle(*runs, [member](const ActorsRun& r) { return r.*member; });
  };
  out.clients = kActorsOutstanding;
  out.ours.timed = false;
  out.ours.ops = of(&ActorsRun::fill_events_per_s);
  out.ours.cpu_s = of(&ActorsRun::cpu_s);
  out.ours.rss_mb = of(&ActorsRun::rss_mb);
  out.seconds = static_cast<double>(o.amount) / std::max(out.ours.ops, 1e-9);
  out.extra = {{"actors", static_cast<double>(o.amount)},
               {"first_answer_ms", of(&ActorsRun::first_answer_ms)},
               {"open_log_ms", of(&ActorsRun::open_log_ms)},
               {"open_store_ms", of(&ActorsRun::open_store_ms)},
               {"bytes_per_active_actor", of(&ActorsRun::bytes_per_active)},
               {"bytes_per_idle_actor", of(&ActorsRun::bytes_per_idle)}};
  out.gates = {{"B5", "ms to the first answer", of(&ActorsRun::first_answer_ms), 300, false},
               {"B8", "bytes an idle actor", of(&ActorsRun::bytes_per_idle), 400, false}};
  if (!o.peer.empty())
    return actors_beside(o, std::move(out), restarts, bytes, of(&ActorsRun::first_answer_ms),
                         of(&ActorsRun::bytes_per_idle));
  return out;
}

}  // namespace soma::bench
