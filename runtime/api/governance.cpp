// Policy evaluation.
#include <boost/json/array.hpp>

#include "actors/constitution/constitution.h"
#include "actors/decision/decision.h"
#include "runtime/api/constitutions.h"
#include "runtime/api/rulebook.h"
#include "runtime/api/submit.h"
#include "runtime/api/views.h"
#include "soma/v1/decision.pb.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::FieldType;
using http::Responder;

namespace {

double number(const json::object& body, const char* name, double fallback) {
  const auto* v = body.if_contains(name);
  return v && v->is_number() ? v->to_number<double>() : fallback;
}

void evaluate_under_rules(const Node& node, const RequestPtr& r, const Responder& responder,
                          v1::DecisionCommand command) {
  node.rulebook->in_force(
      *node.host, r->tenant(),
      [&node, r, responder, command = std::move(command)](Result<Rulebook::InForce> rules) mutable {
        if (!rules) return responder.send(problem_of(rules.error()));
        auto* decide = command.mutable_decide_policy();
        *decide->mutable_rules() = rules_for(*rules, decide->input().action_id());
        const std::string id = command_id_of(*r);
        submit(node, r, responder,
               make_submission(*r, actors::decision_key(r->tenant(), created_id("dec", *r, id)),
                               command, id),
               [](const Accepted& a) {
                 v1::DecisionReply reply;
                 reply.ParseFromString(a.reply);
                 return http::json_response(200, views::decision(reply.decision()));
               });
      });
}

void evaluate(const Node& node, const RequestPtr& r, const Responder& responder) {
  const auto& body = r->json.get_object();
  v1::PolicyInput input;
  input.set_action_id(text_member(body, "action_id"));
  input.set_capability(text_member(body, "capability"));
  input.set_risk_score(number(body, "risk_score", 0));
  input.set_confidence(number(body, "confidence", 0));
  input.set_budget_required(number(body, "budget_required", 0));
  if (const auto* v = body.if_contains("budget_remaining"); v && v->is_number()) {
    input.set_budget_remaining(v->to_number<double>());
    input.set_has_budget_remaining(true);
  }
  if (const auto* v = body.if_contains("requires_human"); v && v->is_bool())
    input.set_requires_human(v->get_bool());
  input.set_deployment_mode(text_member(body, "deployment_mode"));
  input.set_tool_category(text_member(body, "tool_category"));
  with_settings(node, r, responder, [&node, r, responder, input](v1::TenantSettings settings) {
    node.constitutions->in_force(
        *node.host, r->tenant(), [&node, r, responder, input, settings](auto found) {
          if (!found) return responder.send(problem_of(found.error()));
          v1::DecisionCommand command;
          auto* decide = command.mutable_decide_policy();
          *decide->mutable_input() = input;
          decide->set_mode(settings.deployment_mode());
          decide->set_settings_version(settings.version());
          if (settings.has_policy()) *decide->mutable_weights() = settings.policy();
          if (*found)  // none: the judgement says so and refuses
            *decide->mutable_constitution() = actors::in_force(*(*found)->constitution);
          evaluate_under_rules(node, r, responder, std::move(command));
        });
  });
}

}  // namespace

void register_governance(http::Router& router, const Node& node) {
  const auto unit = [](const char* name) {
    return http::Field{
        .name = name, .type = FieldType::kNumber, .required = true, .min = 0, .max = 1};
  };
  const auto body = http::make_schema(
      "PolicyEvaluate",
      {{.name = "action_id", .required = true, .min_length = 1},
       {.name = "capability", .required = true, .min_length = 1},
       unit("risk_score"),
       unit("confidence"),
       {.name = "budget_required", .type = FieldType::kNumber, .required = true, .min = 0},
       {.name = "budget_remaining", .type = FieldType::kNumber, .min = 0, .nullable = true},
       {.name = "requires_human", .type = FieldType::kBool},
       {.name = "tool_category", .max_length = 200},
       {.name = "deployment_mode"}});
  router.add({.method = "POST",
              .pattern = "/v1/evaluate",
              .capability = "policy:evaluate",
              .summary = "Score an action",
              .tag = "policy",
              .request = body,
              .idempotent_write = true},
             [&node](auto r, auto responder) { evaluate(node, r, responder); });
  register_tenant_settings(router, node);
  register_preferences(router, node);
  register_users(router, node);
  register_services(router, node);
  register_deployment(router, node);
  register_training(router, node);
  register_speech(router, node);
}

}  // namespace soma::runtime::api
