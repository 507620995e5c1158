// Health, metrics, descriptions, and what an operator asks of a running node.
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <mutex>

#include "projections/projections.h"
#include "runtime/api/deployment.h"
#include "runtime/api/host_metrics.h"
#include "runtime/api/projection_admin.h"
#include "runtime/api/submit.h"
#include "runtime/api/views.h"
#include "runtime/integration/asyncapi.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::Responder;

namespace {

// What the node stands on: "ok", or why not. Reasons may name files and addresses: they are the
// operator's.
json::object dependencies(const Node& node) {
  const auto told = [](const Status& s) { return s ? "ok" : s.error().message; };
  json::object out{{"log", told(node.log->health())}};
  const auto model = node.chat_endpoint();  // sessions wait for it; the node serves without
  out["model"] = model ? "ok" : model.error().message;
  if (node.projections) out["postgres"] = told(node.projections->health());
  return out;
}

// For everybody, so no reasons.
void ready(const Node& node, const Responder& responder) {
  constexpr const char* kSee = "not ok; GET /v1/admin/status tells why";
  json::object dependencies = api::dependencies(node);
  for (auto& [name, state] : dependencies)
    if (state != "ok") state = kSee;
  bool ok = dependencies["log"] == "ok";
  for (const auto& p : node.host->status())
    if (!p.serving) {
      if (ok) dependencies["log"] = "not all partitions are served";
      ok = false;
      dependencies["partition " + std::to_string(p.partition.value)] =
          p.problem.empty() ? "recovering" : kSee;
    }
  // The mode is in force all the same: told, not a reason to take the node out of service.
  if (ok) judge_guardrails(node, {});  // for whoever asks next
  if (const auto failing = node.deployment->failing(); !failing.empty())
    dependencies["guardrails"] = node.deployment->mode() + " asks for " + failing;
  responder.send(
      http::json_response(ok ? 200 : 503, json::object{{"status", ok ? "ready" : "not_ready"},
                                                       {"dependencies", std::move(dependencies)}}));
}

json::array partitions(const Node& node) {
  json::array out;
  for (const auto& p : node.host->status())
    out.push_back({{"partition", p.partition.value},
                   {"epoch", p.epoch.value},
                   {"applied", p.applied.value},
                   {"serving", p.serving},
                   {"active_actors", p.active_actors},
                   {"queued", p.queued},
                   {"parked", p.parked},
                   {"pending_effects", p.pending_effects},
                   {"frames_in_flight", p.frames_in_flight},
                   {"problem", p.problem}});
  return out;
}

void refresh_metrics(const Node& node) {
  refresh_host_metrics(node);
  refresh_projection_metrics(node);
}

void register_public(http::Router& router, const Node& node) {
  const auto public_route = [&](const char* path, const char* summary, auto handler) {
    router.add({.method = "GET",
                .pattern = path,
                .capability = "public",
                .summary = summary,
                .tag = "operations"},
               handler);
  };
  public_route("/health", "Is the process alive", [](auto, auto responder) {
    responder.send(http::json_response(200, json::object{{"status", "ok"}, {"service", "soma"}}));
  });
  public_route("/health/ready", "Is the node serving",
               [&node](auto, auto responder) { ready(node, responder); });
  public_route("/.well-known/jwks.json", "Public keys of tokens issued here",
               [&node](auto, auto responder) {
                 responder.send(http::text_response(200, node.jwks(), "application/json"));
               });
  public_route("/openapi.json", "This API", [&router](auto, auto responder) {
    responder.send(http::json_response(200, router.openapi({})));
  });
  public_route("/asyncapi.json", "The topics of a cluster on Kafka",
               [&router, &node](auto, auto responder) {
                 responder.send(http::json_response(
                     200, integration::asyncapi(*node.catalog, router, node.topic_prefix)));
               });
}

void register_operator(http::Router& router, const Node& node) {
  router.add({.method = "GET",
              .pattern = "/v1/admin/status",
              .capability = "admin:read",
              .summary = "State of the node",
              .tag = "operations"},
             [&node](auto, auto responder) {
               json::object out{{"mode", node.deployment->mode()},
                                {"partitions", partitions(node)},
                                {"dependencies", dependencies(node)}};
               if (node.projections)
                 out["projections"] = json::object{{"lag_frames", node.projections->lag()}};
               responder.send(http::json_response(200, out));
             });
}

}  // namespace

void register_metrics(http::Router& router, const Node& node) {
  router.add({.method = "GET",
              .pattern = "/metrics",
              .capability = "public",
              .summary = "Prometheus metrics",
              .tag = "operations"},
             [&node](auto, auto responder) {
               static std::mutex one_at_a_time;
               const std::lock_guard lock(one_at_a_time);
               refresh_metrics(node);
               responder.send(
                   http::text_response(200, node.metrics->render(), "text/plain; version=0.0.4"));
             });
}

void register_admin(http::Router& router, const Node& node) {
  register_public(router, node);
  register_metrics(router, node);
  register_operator(router, node);
  register_projection_admin(router, node);
}

}  // namespace soma::runtime::api
