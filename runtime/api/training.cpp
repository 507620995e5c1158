// The training lock of a tenant: held by one, ended by that one.
#include "actors/gateway/gateway.h"
#include "runtime/api/deployment.h"
#include "runtime/api/submit.h"
#include "runtime/api/views.h"
#include "soma/v1/gateway.pb.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::Responder;

namespace {

http::Response shown(const std::string& tenant, const v1::TrainingLock& lock) {
  const bool locked = !lock.locked_by().empty();
  return http::json_response(
      200,
      json::object{{"tenant_id", tenant},
                   {"locked", locked},
                   {"locked_by", locked ? json::value(lock.locked_by()) : json::value(nullptr)},
                   {"locked_at", locked ? json::value(views::iso_time(lock.locked_ms()))
                                        : json::value(nullptr)}});
}

bool own(const RequestPtr& r, const std::string& tenant, const Responder& responder) {
  if (tenant == r->tenant()) return true;
  responder.fail({Code::kNotFound, "Tenant not found", {}});
  return false;
}

void change(const Node& node, const RequestPtr& r, const Responder& responder, bool start) {
  const std::string tenant = text_member(r->json, "tenant_id");
  if (!own(r, tenant, responder)) return;
  if (text_member(r->json, "requested_by") != r->principal.subject())
    return responder.fail({Code::kForbidden, "requested_by must be the caller", {}});
  v1::GatewayCommand command;
  if (start) {
    command.mutable_start_training()->set_tenant(tenant);
    command.mutable_start_training()->set_server_mode(node.deployment->mode());
  } else {
    command.mutable_stop_training()->set_tenant(tenant);
  }
  submit(node, r, responder, make_submission(*r, actors::gateway_key(), command, command_id_of(*r)),
         [tenant](const Accepted& a) {
           v1::GatewayReply reply;
           reply.ParseFromString(a.reply);
           return shown(tenant, reply.lock());
         });
}

void read(const Node& node, const RequestPtr& r, const Responder& responder) {
  if (!own(r, r->param("tenant"), responder)) return;
  node.host->read(actors::gateway_key(), [r, responder](Result<StateView> v) {
    if (!v) return responder.send(problem_of(v.error()));
    const auto& locks = static_cast<const v1::GatewayState&>(*v->state).training();
    const auto it = locks.find(r->tenant());
    responder.send(shown(r->tenant(), it == locks.end() ? v1::TrainingLock() : it->second));
  });
}

}  // namespace

void register_training(http::Router& router, const Node& node) {
  const auto body = http::make_schema(
      "TrainingLock",
      {{.name = "tenant_id", .required = true, .min_length = 1, .max_length = 256},
       {.name = "requested_by", .required = true, .min_length = 1, .max_length = 256}});
  for (const bool start : {true, false})
    router.add({.method = "POST",
                .pattern = start ? "/v1/training/start" : "/v1/training/stop",
                .capability = "training:write",
                .summary = start ? "Take the tenant's training lock" : "End the training lock",
                .tag = "training",
                .request = body,
                .idempotent_write = true},
               [&node, start](auto r, auto responder) { change(node, r, responder, start); });
  router.add({.method = "GET",
              .pattern = "/v1/training/{tenant}",
              .capability = "training:read",
              .summary = "Who holds the tenant's training lock",
              .tag = "training"},
             [&node](auto r, auto responder) { read(node, r, responder); });
}

}  // namespace soma::runtime::api
