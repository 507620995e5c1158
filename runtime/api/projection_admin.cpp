// Reports as JSON and as metrics. What reads whole tables runs on the patient worker.
#include "runtime/api/projection_admin.h"

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "projections/projections.h"
#include "runtime/api/submit.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::Responder;

namespace {

json::object rebuild_json(const projections::Report::Rebuild& r) {
  json::object out{{"running", r.running},
                   {"reason", r.reason},
                   {"frames_read", r.frames_read},
                   {"frames_total", r.frames_total},
                   {"rows", r.rows},
                   {"seconds", r.seconds},
                   {"done", r.done},
                   {"failed", r.failed}};
  out["error"] = r.error.empty() ? json::value(nullptr) : json::value(r.error);
  return out;
}

json::array lag_json(const projections::Report& r) {
  json::array out;
  for (const auto& p : r.partitions)
    out.push_back({{"partition", p.partition.value},
                   {"read_up_to", p.next.value},
                   {"log_end", p.end.value},
                   {"lag", p.end.value > p.next.value ? p.end.value - p.next.value : 0}});
  return out;
}

json::object report_json(const Node& node) {
  const auto r = node.projections->report();
  return {{"status", !r.problem.empty() ? "unavailable"
                     : r.passive        ? "passive"
                                        : "following"},
          {"problem", r.problem.empty() ? json::value(nullptr) : json::value(r.problem)},
          {"lag_frames", node.projections->lag()},
          {"rows", r.rows},
          {"events", r.events},
          {"batches", r.batches},
          {"rejected", r.rejected},
          {"interruptions", r.failures},
          {"rebuild", rebuild_json(r.rebuild)}};
}

json::object verification_json(const projections::Verification& v) {
  json::array differences;
  for (const auto& d : v.differences)
    differences.push_back({{"kind", d.kind},
                           {"table", d.table},
                           {"tenant_id", d.tenant},
                           {"actor", d.tenant + "/" + d.actor_type + "/" + d.actor_id},
                           {"sequence", d.sequence},
                           {"event_id", d.event_id},
                           {"position", d.position},
                           {"column", d.column},
                           {"expected", d.expected},
                           {"found", d.found}});
  json::array cursors;
  for (const auto& c : v.cursors) cursors.emplace_back(c);
  return {{"ok", v.ok},
          {"events", v.events},
          {"rows", v.rows},
          {"actors", v.actors},
          {"rejected", v.rejected},
          {"wrong_actors", v.wrong_actors},
          {"other_tenants", json::object{{"wrong_actors", v.wrong_of_others}}},
          {"cursors", std::move(cursors)},
          {"differences", std::move(differences)},
          {"seconds", v.seconds}};
}

using Handler = std::function<void(const RequestPtr&, const Responder&)>;

void add(http::Router& router, const Node& node, const char* method, const char* path,
         const char* capability, const char* summary, Handler handler) {
  router.add({.method = method,
              .pattern = path,
              .capability = capability,
              .summary = summary,
              .tag = "operations"},
             [&node, handler = std::move(handler)](auto r, auto responder) {
               if (!node.projections)
                 return responder.fail({Code::kUnavailable, "this node has no projections", {}});
               handler(r, responder);
             });
}

template <typename T>
void answer(const Responder& responder, const Result<T>& result,
            const std::function<json::object(const T&)>& make) {
  if (result) return responder.send(http::json_response(200, make(*result)));
  responder.send(problem_of(result.error()));
}

}  // namespace

void register_projection_admin(http::Router& router, const Node& node) {
  const std::string base = "/v1/admin/projections";
  add(router, node, "GET", base.c_str(), "admin:read", "State of the views",
      [&node](const RequestPtr&, const Responder& responder) {
        responder.send(http::json_response(200, report_json(node)));
      });
  add(router, node, "GET", (base + "/lag").c_str(), "admin:read",
      "How far the views are, by partition",
      [&node](const RequestPtr&, const Responder& responder) {
        responder.send(http::json_response(
            200, json::object{{"lag_frames", node.projections->lag()},
                              {"partitions", lag_json(node.projections->report())}}));
      });
  add(router, node, "POST", (base + "/rebuild").c_str(), "admin:write",
      "Fill new views from the log, then switch to them",
      [&node](const RequestPtr&, const Responder& responder) {
        if (auto started = node.projections->start_rebuild("asked for"); !started)
          return responder.fail(started.error());
        responder.send(http::json_response(202, report_json(node)));
      });
  add(router, node, "GET", (base + "/verify").c_str(), "admin:read",
      "Prove that the views are the fold of the log, or name the caller's rows that are not",
      [&node](const RequestPtr& r, const Responder& responder) {
        node.patient->post([&node, r, responder] {
          answer<projections::Verification>(responder, node.projections->verify(r->tenant()),
                                            verification_json);
        });
      });
  add(router, node, "GET", (base + "/digest").c_str(), "admin:read", "Digest of all rows",
      [&node](const RequestPtr&, const Responder& responder) {
        node.patient->post([&node, responder] {
          answer<std::string>(responder, node.projections->digest(), [](const auto& digest) {
            return json::object{{"digest", digest}};
          });
        });
      });
}

namespace {

void refresh_memory_metrics(const Node& node) {
  const auto m = node.memory->stats();
  const auto set = [&](const char* name, const char* help, std::uint64_t value) {
    node.metrics->gauge(name, help).set(static_cast<double>(value));
  };
  set("soma_memory_index_tenants", "Tenants with remembered facts", m.tenants);
  set("soma_memory_index_facts", "Facts that can be found", m.facts);
  set("soma_memory_index_vectors", "Facts that can be found by meaning", m.vectors);
  set("soma_memory_index_text_bytes", "Texts and payloads held", m.bytes);
  set("soma_memory_index_left_out", "Facts beyond a tenant's limits", m.left_out);
  set("soma_memory_index_lag_frames", "Records of the log not yet indexed",
      m.records_total > m.records_taken ? m.records_total - m.records_taken : 0);
  node.metrics->counter("soma_memory_recalls_total", "Searches")
      .reach(static_cast<double>(m.recalls));
  node.metrics->counter("soma_memory_recall_seconds_total", "Time of searches, without embedding")
      .reach(static_cast<double>(m.recall_us) / 1e6);
}

}  // namespace

void refresh_projection_metrics(const Node& node) {
  refresh_memory_metrics(node);
  if (!node.projections) return;
  const auto r = node.projections->report();
  const auto set = [&](const char* name, const char* help, double value) {
    node.metrics->gauge(name, help).set(value);
  };
  const auto total = [&](const char* name, const char* help, double value) {
    node.metrics->counter(name, help).reach(value);
  };
  const auto real = [](std::uint64_t n) { return static_cast<double>(n); };
  set("soma_projection_up", "Postgres is reached and followed", r.problem.empty());
  set("soma_projection_lag_frames", "Frames not yet in Postgres", real(node.projections->lag()));
  total("soma_projection_rows_total", "Rows written", real(r.rows));
  total("soma_projection_events_total", "Events read", real(r.events));
  total("soma_projection_batches_total", "Transactions", real(r.batches));
  total("soma_projection_rejected_rows_total", "Events that the tables could not show",
        real(r.rejected));
  total("soma_projection_interruptions_total", "Connections lost or refused", real(r.failures));
  total("soma_projection_busy_seconds_total", "Time spent on batches", r.busy_seconds);
  set("soma_projection_rebuild_running", "A rebuild runs", r.rebuild.running);
  set("soma_projection_rebuild_rows_per_second", "Of the last rebuild",
      r.rebuild.seconds > 0 ? real(r.rebuild.rows) / r.rebuild.seconds : 0);
}

}  // namespace soma::runtime::api
