// Health, metrics, descriptions, and what an operator asks of a running node.
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "projections/projections.h"
#include "runtime/api/projection_admin.h"
#include "runtime/api/submit.h"
#include "runtime/api/views.h"
#include "runtime/integration/asyncapi.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::Responder;

namespace {

void ready(const Node& node, const Responder& responder) {
  json::object dependencies;
  bool ok = true;
  for (const auto& p : node.host->status())
    if (!p.serving) {
      ok = false;
      dependencies["partition " + std::to_string(p.partition.value)] =
          p.problem.empty() ? "recovering" : p.problem;
    }
  dependencies["log"] = ok ? "ok" : "not all partitions are served";
  const auto model = node.chat_endpoint();
  dependencies["model"] =
      model ? "ok" : model.error().message;  // sessions wait for it; the node serves without
  if (node.projections) {
    const auto healthy = node.projections->health();
    dependencies["postgres"] = healthy ? "ok" : healthy.error().message;
  }
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
  auto& m = *node.metrics;
  const auto& h = node.host->metrics();
  const auto set = [&](const char* name, const char* help, double value) {
    m.gauge(name, help).set(value);
  };
  set("soma_host_commands", "Commands submitted since start",
      static_cast<double>(h.commands.load()));
  set("soma_host_frames", "Frames committed since start", static_cast<double>(h.frames.load()));
  set("soma_host_entries", "Commands committed since start", static_cast<double>(h.entries.load()));
  set("soma_host_events", "Events committed since start", static_cast<double>(h.events.load()));
  set("soma_host_replays", "Retries answered with the recorded reply",
      static_cast<double>(h.replays.load()));
  set("soma_host_rejections", "Commands refused by deciders",
      static_cast<double>(h.rejections.load()));
  set("soma_host_overloads", "Commands refused because a queue was full",
      static_cast<double>(h.overloads.load()));
  set("soma_host_effects_done", "Effects that ended well",
      static_cast<double>(h.effects_done.load()));
  set("soma_host_effects_failed", "Effect attempts that failed",
      static_cast<double>(h.effects_failed.load()));
  set("soma_host_effects_unknown", "Effects whose outcome is not known",
      static_cast<double>(h.effects_unknown.load()));
  set("soma_host_parked_actors", "Actors parked since start", static_cast<double>(h.parked.load()));
  set("soma_host_commit_seconds_sum", "Sum of commit latencies",
      static_cast<double>(h.commit_us_sum.load()) / 1e6);
  std::size_t queued = 0, effects = 0;
  for (const auto& p : node.host->status()) {
    queued += p.queued;
    effects += p.pending_effects;
  }
  set("soma_host_queued_commands", "Commands that wait in partitions", static_cast<double>(queued));
  set("soma_host_pending_effects", "Effects not yet reported", static_cast<double>(effects));
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
  public_route("/metrics", "Prometheus metrics", [&node](auto, auto responder) {
    refresh_metrics(node);
    responder.send(http::text_response(200, node.metrics->render(), "text/plain; version=0.0.4"));
  });
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
               json::object out{{"mode", node.mode}, {"partitions", partitions(node)}};
               if (node.projections)
                 out["projections"] = json::object{{"lag_frames", node.projections->lag()}};
               responder.send(http::json_response(200, out));
             });
}

}  // namespace

void register_admin(http::Router& router, const Node& node) {
  register_public(router, node);
  register_operator(router, node);
  register_projection_admin(router, node);
}

}  // namespace soma::runtime::api
