// The table.
#include "tools/generate/signals.h"

namespace soma::cli {

namespace {

const std::vector<Panel> kRequestsAndLog{
    {"Requests",
     "Requests by status",
     "reqps",
     {{"sum by (status) (rate(soma_http_requests_total{SCOPE}[$__rate_interval]))", "{{status}}"}}},
    {"Requests",
     "Time of requests, p99 by route",
     "s",
     {{"histogram_quantile(0.99, sum by (le, route) "
       "(rate(soma_http_request_seconds_bucket{SCOPE}[$__rate_interval])))",
       "{{route}}"}}},
    {"Requests",
     "Connections",
     "short",
     {{"sum by (instance) (soma_http_connections{SCOPE})", "{{instance}}"},
      {"sum(rate(soma_http_refused_connections_total{SCOPE}[$__rate_interval]))",
       "refused a second"}}},
    {"Log",
     "Commands, events and frames committed",
     "ops",
     {{"sum(rate(soma_host_entries_total{SCOPE}[$__rate_interval]))", "commands"},
      {"sum(rate(soma_host_events_total{SCOPE}[$__rate_interval]))", "events"},
      {"sum(rate(soma_host_frames_total{SCOPE}[$__rate_interval]))", "frames"}}},
    {"Log",
     "Time of commits",
     "s",
     {{"histogram_quantile(0.5, sum by (le) "
       "(rate(soma_host_commit_seconds_bucket{SCOPE}[$__rate_interval])))",
       "p50"},
      {"histogram_quantile(0.99, sum by (le) "
       "(rate(soma_host_commit_seconds_bucket{SCOPE}[$__rate_interval])))",
       "p99"}}},
    {"Log",
     "Commands that wait; commands refused",
     "short",
     {{"sum(soma_host_queued_commands{SCOPE})", "wait"},
      {"sum by (code) (rate(soma_host_refusals_total{SCOPE}[$__rate_interval]))",
       "refused a second: {{code}}"}}},
    {"Log",
     "Recoveries, void records, parked actors",
     "short",
     {{"sum(increase(soma_host_recoveries_total{SCOPE}[$__rate_interval]))", "recoveries"},
      {"sum(increase(soma_host_void_records_total{SCOPE}[$__rate_interval]))", "void records"},
      {"sum(increase(soma_host_parked_actors_total{SCOPE}[$__rate_interval]))", "parked"}}},
};

const std::vector<Panel> kWorkAndReads{
    {"Actors and effects",
     "Actors in memory",
     "short",
     {{"sum by (instance) (soma_host_active_actors{SCOPE})", "{{instance}}"}}},
    {"Actors and effects",
     "Effects by outcome; effects that are pending",
     "short",
     {{"sum by (outcome) (rate(soma_host_effect_outcomes_total{SCOPE}[$__rate_interval]))",
       "{{outcome}} a second"},
      {"sum(soma_host_pending_effects{SCOPE})", "pending"}}},
    {"Models",
     "Time of calls, p95 by model",
     "s",
     {{"histogram_quantile(0.95, sum by (le, gen_ai_response_model) "
       "(rate(gen_ai_client_operation_duration_seconds_bucket{SCOPE}[$__rate_interval])))",
       "{{gen_ai_response_model}}"}}},
    {"Models",
     "Calls that failed",
     "ops",
     {{"sum by (error_type) (rate(gen_ai_client_operation_duration_seconds_count"
       "{SCOPE,error_type!=\"\"}[$__rate_interval]))",
       "{{error_type}}"}}},
    {"Models",
     "Tokens a second",
     "short",
     {{"sum by (gen_ai_token_type) "
       "(rate(gen_ai_client_token_usage_sum{SCOPE}[$__rate_interval]))",
       "{{gen_ai_token_type}}"}}},
    {"Views and memory",
     "Journal records not yet there",
     "short",
     {{"sum by (instance) (soma_projection_lag_frames{SCOPE})", "views, {{instance}}"},
      {"sum by (instance) (soma_memory_index_lag_frames{SCOPE})", "memory, {{instance}}"}}},
    {"Views and memory",
     "Rows written a second",
     "short",
     {{"sum(rate(soma_projection_rows_total{SCOPE}[$__rate_interval]))", "rows"}}},
    {"Views and memory",
     "Facts that can be found",
     "short",
     {{"sum by (instance) (soma_memory_index_facts{SCOPE})", "{{instance}}"}}},
};

}  // namespace

std::vector<Panel> panels() {
  std::vector<Panel> all = kRequestsAndLog;
  all.insert(all.end(), kWorkAndReads.begin(), kWorkAndReads.end());
  return all;
}

const std::vector<Alert>& alerts() {
  static const std::vector<Alert> all{
      {"SomaNodeDown", "up{SCOPE} == 0", "1m", "critical", "{{ $labels.instance }} does not answer",
       "A node is lost"},
      {"SomaDiskFull",
       "sum by (instance) (rate(soma_http_requests_total{SCOPE,status=\"507\"}[5m])) > 0", "0m",
       "critical", "{{ $labels.instance }} refuses writes: its disk is full", "The disk is full"},
      {"SomaServerErrors",
       "sum by (instance) (rate(soma_http_requests_total{SCOPE,status=~\"5..\"}[5m])) / "
       "sum by (instance) (rate(soma_http_requests_total{SCOPE}[5m])) > 0.05",
       "5m", "critical", "{{ $labels.instance }} answers more than 5 % of requests with 5xx", ""},
      {"SomaCommitsSlow",
       "histogram_quantile(0.99, sum by (le, instance) "
       "(rate(soma_host_commit_seconds_bucket{SCOPE}[5m]))) > 0.5",
       "10m", "warning", "commits of {{ $labels.instance }} take more than 0.5 s (p99)", ""},
      {"SomaOverloaded",
       "sum by (instance) (rate(soma_host_refusals_total{SCOPE,code=\"overloaded\"}[5m])) > 1",
       "5m", "warning", "{{ $labels.instance }} refuses commands: its queues are full", ""},
      {"SomaActorParked", "increase(soma_host_parked_actors_total{SCOPE}[15m]) > 0", "0m",
       "warning", "an actor of {{ $labels.instance }} could not decide and is parked",
       "An actor is parked"},
      {"SomaEffectUnknown",
       "increase(soma_host_effect_outcomes_total{SCOPE,outcome=\"unknown\"}[15m]) > 0", "0m",
       "warning", "nobody can say whether an effect of {{ $labels.instance }} happened",
       "An effect is pending for long, or ended unknown"},
      {"SomaModelFails",
       "sum by (instance) (rate(gen_ai_client_operation_duration_seconds_count"
       "{SCOPE,error_type!=\"\"}[5m])) / "
       "sum by (instance) (rate(gen_ai_client_operation_duration_seconds_count{SCOPE}[5m])) > 0.2",
       "5m", "warning", "more than 20 % of the model calls of {{ $labels.instance }} fail", ""},
      {"SomaViewsAway", "soma_projection_up{SCOPE} == 0", "2m", "warning",
       "{{ $labels.instance }} does not reach its PostgreSQL: lists answer 503", "The views lag"},
      {"SomaViewsLag", "soma_projection_lag_frames{SCOPE} > 10000", "5m", "warning",
       "the views of {{ $labels.instance }} are {{ $value }} records behind", "The views lag"},
      {"SomaViewsRejected", "increase(soma_projection_rejected_rows_total{SCOPE}[15m]) > 0", "0m",
       "warning", "{{ $labels.instance }} met events that its tables cannot show", "The views lag"},
      {"SomaMemoryLag", "soma_memory_index_lag_frames{SCOPE} > 10000", "5m", "warning",
       "the memory index of {{ $labels.instance }} is {{ $value }} records behind", ""},
      {"SomaSeriesDropped", "increase(soma_metrics_dropped_series{SCOPE}[1h]) > 0", "0m", "warning",
       "{{ $labels.instance }} has more series than it serves", ""},
  };
  return all;
}

std::string scoped(const std::string& expression, const std::string& matchers) {
  std::string out = expression;
  const std::string word = "SCOPE";
  for (std::size_t at = out.find(word); at != out.npos; at = out.find(word, at + matchers.size()))
    out.replace(at, word.size(), matchers);
  return out;
}

}  // namespace soma::cli
