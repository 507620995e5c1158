// The host counts in plain atomics; they are brought over when someone looks.
#include "runtime/api/host_metrics.h"

#include <algorithm>
#include <cmath>

namespace soma::runtime::api {

namespace {

double real(const std::atomic<std::uint64_t>& n) {
  return static_cast<double>(n.load(std::memory_order_relaxed));
}

// Upper bounds, in seconds, of the host's buckets; the last one has none.
const std::vector<double>& commit_buckets() {
  static const auto buckets = [] {
    std::vector<double> out;
    for (std::size_t i = 0; i + 1 < HostMetrics{}.commit_us.size(); ++i)
      out.push_back(std::ldexp(1e-6, static_cast<int>(i)));
    return out;
  }();
  return buckets;
}

void refresh_commits(Metrics& m, const HostMetrics& h) {
  std::vector<double> counts;
  for (const auto& n : h.commit_us) counts.push_back(real(n));
  m.histogram("soma_host_commit_seconds", "From a frame's closing to its being durable and valid",
              commit_buckets())
      .reach(counts, real(h.commit_us_sum) / 1e6);
}

}  // namespace

void refresh_host_metrics(const Node& node) {
  auto& m = *node.metrics;
  const auto& h = node.host->metrics();
  const auto total = [&](const char* name, const char* help, const std::atomic<std::uint64_t>& n) {
    m.counter(name, help).reach(real(n));
  };
  total("soma_host_commands_total", "Commands submitted", h.commands);
  total("soma_host_frames_total", "Frames committed", h.frames);
  total("soma_host_entries_total", "Commands committed", h.entries);
  total("soma_host_events_total", "Events committed", h.events);
  total("soma_host_replays_total", "Retries answered with the recorded reply", h.replays);
  total("soma_host_effects_started_total", "Effect attempts begun", h.effects_started);
  total("soma_host_parked_actors_total", "Actors that could not decide", h.parked);
  total("soma_host_passivated_actors_total", "Actors that left memory", h.passivated);
  total("soma_host_snapshots_total", "Snapshots written", h.snapshots);
  total("soma_host_relayed_sends_total", "Sends to other partitions", h.relayed);
  total("soma_host_recoveries_total", "Partitions recovered", h.recoveries);
  total("soma_host_recovered_frames_total", "Frames read back by recoveries", h.recovered_frames);
  m.counter("soma_host_recovery_seconds_total", "Time of recoveries until they served")
      .reach(real(h.recovery_us) / 1e6);
  total("soma_host_void_records_total", "Records that the fence left out", h.voids);
  const auto effects = [&](const char* outcome, const std::atomic<std::uint64_t>& n) {
    m.counter("soma_host_effect_outcomes_total", "Effect attempts that ended",
              {{"outcome", outcome}})
        .reach(real(n));
  };
  effects("done", h.effects_done);
  effects("failed", h.effects_failed);
  effects("unknown", h.effects_unknown);
  for (std::size_t i = 0; i < h.refused.size(); ++i)
    if (const double n = real(h.refused[i]); n > 0)
      m.counter("soma_host_refusals_total", "Commands refused, by the problem's code",
                {{"code", std::string(code_name(static_cast<Code>(i)))}})
          .reach(n);
  refresh_commits(m, h);
  std::size_t queued = 0, pending = 0, active = 0;
  for (const auto& p : node.host->status()) {
    queued += p.queued;
    pending += p.pending_effects;
    active += p.active_actors;
  }
  const auto now = [&](const char* name, const char* help, std::size_t n) {
    m.gauge(name, help).set(static_cast<double>(n));
  };
  now("soma_host_queued_commands", "Commands that wait in partitions", queued);
  now("soma_host_pending_effects", "Effects not yet reported", pending);
  now("soma_host_active_actors", "Actors in memory", active);
  if (!node.standbys) return;
  std::size_t partitions = 0, lag = 0;
  for (const auto& s : node.standbys()) {
    if (!s.here) continue;
    ++partitions;
    lag = std::max<std::size_t>(lag, s.lag);
  }
  now("soma_standby_partitions", "Other nodes' partitions that this node is warm for", partitions);
  now("soma_standby_lag_records", "Records not yet followed, of the one furthest behind", lag);
}

}  // namespace soma::runtime::api
