// The kill switch: new sessions are refused, reads go on. Durable, and known to this node by its
// event.
#include "runtime/api/kill_switch.h"

#include "actors/gateway/gateway.h"
#include "runtime/api/changed_by.h"
#include "runtime/api/submit.h"
#include "runtime/api/views.h"
#include "soma/v1/gateway.pb.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::FieldType;
using http::Responder;

namespace {

http::Response shown(const KillSwitch& now, const v1::GatewayState& s, const std::string& tenant) {
  json::object out{{"enabled", now.active()},
                   {"at_start", now.set_at_start()},
                   {"reason", s.reason()},
                   {"changed_by", changed_by(s.changed_by(), tenant)},
                   {"changed_at", s.changed_ms() ? json::value(views::iso_time(s.changed_ms()))
                                                 : json::value(nullptr)}};
  return http::json_response(200, out);
}

}  // namespace

void KillSwitch::take(bool enabled, bool newer) {
  std::lock_guard lock(mutex_);
  if (!newer && followed_) return;
  followed_ = followed_ || newer;
  recorded_ = enabled;
}

void KillSwitch::follow(const events::ValidFrame& frame) {
  const ActorKey self = actors::gateway_key();
  for (const auto& entry : frame.frame->entries()) {
    if (entry.actor().type() != self.type || entry.actor().tenant() != self.tenant) continue;
    for (const auto& recorded : entry.events()) {
      v1::GatewayEvent event;
      if (event.ParseFromString(recorded.payload()) && event.has_kill_switch_changed())
        take(event.kill_switch_changed().enabled(), true);
    }
  }
}

void KillSwitch::load(Host& host, std::function<void(Status)> done) {
  host.read(actors::gateway_key(), [this, done = std::move(done)](Result<StateView> view) {
    if (!view) return done(tl::unexpected(view.error()));
    take(static_cast<const v1::GatewayState&>(*view->state).kill_switch(), false);
    done({});
  });
}

void register_kill_switch(http::Router& router, const Node& node) {
  const auto body = http::make_schema(
      "KillSwitch", {{.name = "enabled", .type = FieldType::kBool, .required = true},
                     {.name = "reason", .required = true, .min_length = 1, .max_length = 1000}});
  router.add({.method = "POST",
              .pattern = "/v1/admin/kill-switch",
              .capability = "admin:kill-switch",
              .summary = "Refuse new sessions of every tenant, or take them again",
              .tag = "operations",
              .request = body,
              .idempotent_write = true},
             [&node](auto r, auto responder) {
               v1::GatewayCommand command;
               auto* set = command.mutable_set_kill_switch();
               set->set_enabled(r->json.get_object().at("enabled").get_bool());
               set->set_reason(text_member(r->json, "reason"));
               submit(node, r, responder,
                      make_submission(*r, actors::gateway_key(), command, command_id_of(*r)),
                      [&node, r](const Accepted& a) {
                        v1::GatewayReply reply;
                        reply.ParseFromString(a.reply);
                        return shown(*node.kill_switch, reply.state(), r->tenant());
                      });
             });
  router.add(
      {.method = "GET",
       .pattern = "/v1/admin/kill-switch",
       .capability = "admin:read",
       .summary = "Whether new sessions are refused",
       .tag = "operations"},
      [&node](auto r, auto responder) {
        node.host->read(actors::gateway_key(), [&node, r, responder](Result<StateView> view) {
          if (!view) return responder.send(problem_of(view.error()));
          responder.send(shown(*node.kill_switch,
                               static_cast<const v1::GatewayState&>(*view->state), r->tenant()));
        });
      });
}

}  // namespace soma::runtime::api
