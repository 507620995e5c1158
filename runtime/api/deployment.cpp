// The mode: followed from its actor's frames, switched behind guardrails.
#include "runtime/api/deployment.h"

#include <boost/json/array.hpp>

#include "actors/constitution/constitution.h"
#include "actors/gateway/gateway.h"
#include "actors/gateway/guardrails.h"
#include "events/log.h"
#include "runtime/api/changed_by.h"
#include "runtime/api/constitutions.h"
#include "runtime/api/submit.h"
#include "runtime/api/views.h"
#include "runtime/telemetry/log.h"
#include "soma/v1/gateway.pb.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::Responder;

Deployment::Deployment(std::string setting, std::function<void(const std::string&)> changed)
    : setting_(std::move(setting)), changed_(std::move(changed)) {}

std::string Deployment::mode() const {
  std::lock_guard lock(mutex_);
  return mode_;
}

void Deployment::take(const std::string& recorded, bool newer) {
  std::lock_guard lock(mutex_);
  if (!newer && followed_) return;
  followed_ = followed_ || newer;
  mode_ = actors::stricter_mode(setting_, recorded);
  production_ = mode_ == "production";
  changed_(mode_);
}

void Deployment::follow(const events::ValidFrame& frame) {
  const ActorKey self = actors::gateway_key();
  for (const auto& entry : frame.frame->entries()) {
    if (entry.actor().type() != self.type || entry.actor().tenant() != self.tenant) continue;
    for (const auto& recorded : entry.events()) {
      v1::GatewayEvent event;
      if (event.ParseFromString(recorded.payload()) && event.has_mode_changed())
        take(event.mode_changed().mode(), true);
    }
  }
}

void Deployment::load(Host& host, std::function<void(Status)> done) {
  host.read(actors::gateway_key(), [this, done = std::move(done)](Result<StateView> view) {
    if (!view) return done(tl::unexpected(view.error()));
    take(static_cast<const v1::GatewayState&>(*view->state).mode(), false);
    done({});
  });
}

namespace {

json::object shown(const Node& node, const v1::GatewayState& s, const std::string& tenant) {
  return {{"mode", node.deployment->mode()},
          {"setting", node.deployment->setting()},
          {"recorded", s.mode().empty() ? json::value(nullptr) : json::value(s.mode())},
          {"changed_by", changed_by(s.mode_changed_by(), tenant)},
          {"changed_at", s.mode_changed_ms() ? json::value(views::iso_time(s.mode_changed_ms()))
                                             : json::value(nullptr)}};
}

http::Response refused(const std::string& mode, const v1::GatewayReply& reply) {
  std::vector<http::FieldError> errors;
  std::string names;
  for (const auto& f : reply.failed()) {
    // A lock may be another tenant's; whose the caller's is, GET /v1/training/{tenant} says.
    const bool lock = f.guardrail() == "training_closed";
    errors.push_back({{"body", "mode"},
                      lock ? "a training lock is held; stop it first" : f.message(),
                      f.guardrail()});
    names += (names.empty() ? "" : ", ") + f.guardrail();
  }
  return http::problem(
      {Code::kConflict, "the mode " + mode + " is closed by its guardrails: " + names, {}}, errors);
}

// A stand-in for a model says so in its name.
bool is_mock(const std::string& provider) {
  for (const char* word : {"mock", "fake", "stub", "echo", "scripted"})
    if (provider.find(word) != std::string::npos) return true;
  return false;
}

// What the guardrails of `mode` are judged on now, under the constitution that was found.
v1::ModeFacts facts_for(const Node& node, const std::string& mode,
                        const std::optional<Constitutions::InForce>& found) {
  v1::ModeFacts facts;
  facts.set_chat_provider(node.chat_provider);
  facts.set_mock_provider(is_mock(node.chat_provider));
  facts.set_constitution_signed(
      found && node.constitutions->trusted_in(mode).trusts(found->constitution->key_id()));
  // Developer modes may leave heads to be signed when somebody asks.
  const bool developer = security::is_developer_mode(mode);
  facts.set_audit_on(node.log->health().has_value() && (developer || node.signs_heads));
  facts.set_anonymous_access(developer || node.trusted_producers);
  return facts;
}

void set_mode(const Node& node, const RequestPtr& r, const Responder& responder) {
  const std::string mode = text_member(r->json, "mode");
  if (const std::string by = text_member(r->json, "requested_by");
      !by.empty() && by != r->principal.subject())
    return responder.fail({Code::kForbidden, "requested_by must be the caller", {}});
  node.constitutions->in_force(*node.host, r->tenant(), [&node, r, responder, mode](auto found) {
    if (!found) return responder.send(problem_of(found.error()));
    v1::GatewayCommand command;
    auto* set = command.mutable_set_mode();
    set->set_mode(mode);
    set->set_server_mode(node.deployment->mode());
    set->set_two_keys_to_leave(node.mode_two_keys);
    *set->mutable_facts() = facts_for(node, mode, *found);
    submit(node, r, responder,
           make_submission(*r, actors::gateway_key(), command, command_id_of(*r)),
           [&node, r, mode](const Accepted& a) {
             v1::GatewayReply reply;
             reply.ParseFromString(a.reply);
             if (!reply.approval_id().empty())
               return http::json_response(202, json::object{{"status", "pending_approval"},
                                                            {"approval_id", reply.approval_id()},
                                                            {"mode", node.deployment->mode()},
                                                            {"wanted", mode}});
             if (!reply.failed().empty()) return refused(mode, reply);
             json::object out = shown(node, reply.state(), r->tenant());
             out["changed"] = reply.changed();
             return http::json_response(200, out);
           });
  });
}

}  // namespace

void Deployment::note_failing(std::string names) const {
  std::lock_guard lock(mutex_);
  failing_ = std::move(names);
}

std::string Deployment::failing() const {
  std::lock_guard lock(mutex_);
  return failing_;
}

void judge_guardrails(const Node& node, std::function<void()> done) {
  node.constitutions->in_force(
      *node.host, actors::kGlobalTenant, [&node, done = std::move(done)](auto found) {
        if (!found) return;
        node.host->read(
            actors::gateway_key(), [&node, done, found = std::move(*found)](Result<StateView> v) {
              if (!v) return;
              const auto& s = static_cast<const v1::GatewayState&>(*v->state);
              const std::string mode = node.deployment->mode();
              const std::string holder =
                  s.training().empty() ? "" : s.training().begin()->second.locked_by();
              std::string names;
              for (const auto& f :
                   actors::failing_guardrails(mode, facts_for(node, mode, found), holder))
                names += (names.empty() ? "" : ", ") + f.guardrail();
              node.deployment->note_failing(std::move(names));
              if (done) done();
            });
      });
}

void warn_of_guardrails(const Node& node) {
  judge_guardrails(node, [&node] {
    if (const std::string names = node.deployment->failing(); !names.empty())
      log_warn("guardrails fail", {{"mode", node.deployment->mode()}, {"guardrails", names}});
  });
}

void register_deployment(http::Router& router, const Node& node) {
  router.add({.method = "POST",
              .pattern = "/v1/settings/mode",
              .capability = "settings:mode",
              .summary = "Switch the server's deployment mode, if its guardrails hold",
              .tag = "settings",
              .request = http::make_schema(
                  "ModeChange", {{.name = "mode",
                                  .required = true,
                                  .one_of = {"developer-light", "developer-full", "test",
                                             "test-debug", "production", "production-debug"}},
                                 {.name = "requested_by", .max_length = 256}}),
              .responses = {{.status = 200}, {.status = 202}},
              .idempotent_write = true},
             [&node](auto r, auto responder) { set_mode(node, r, responder); });
  router.add(
      {.method = "GET",
       .pattern = "/v1/settings/mode",
       .capability = "settings:read",
       .summary = "The deployment mode in force",
       .tag = "settings"},
      [&node](auto r, auto responder) {
        node.host->read(actors::gateway_key(), [&node, r, responder](Result<StateView> v) {
          if (!v) return responder.send(problem_of(v.error()));
          responder.send(http::json_response(
              200, shown(node, static_cast<const v1::GatewayState&>(*v->state), r->tenant())));
        });
      });
}

}  // namespace soma::runtime::api
