// Policy evaluation and tenants' settings.
#include <boost/json/array.hpp>

#include "actors/constitution/constitution.h"
#include "actors/policy/judge.h"
#include "actors/tenant/tenant.h"
#include "runtime/api/constitutions.h"
#include "runtime/api/submit.h"
#include "runtime/api/views.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::FieldType;
using http::Responder;

namespace {

double number(const json::object& body, const char* name, double fallback) {
  const auto* v = body.if_contains(name);
  return v && v->is_number() ? v->to_number<double>() : fallback;
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
  node.constitutions->in_force(
      *node.host, r->tenant(), [&node, r, responder, input = std::move(input)](auto found) {
        if (!found) return responder.send(http::problem_retry(found.error(), 1));
        v1::ConstitutionInForce constitution;  // none: the judgement says so and refuses
        if (*found) constitution = actors::in_force((*found)->constitution);
        auto decision =
            actors::judge(input, node.mode, created_id("dec", *r, command_id_of(*r)), constitution);
        if (!decision) return responder.fail(decision.error());
        responder.send(http::json_response(200, views::decision(*decision)));
      });
}

// The settings of the caller's own tenant; others' answer as missing.
bool own_tenant(const RequestPtr& r, const Responder& responder) {
  if (r->param("id") == r->tenant()) return true;
  responder.fail({Code::kNotFound, "Tenant not found", {}});
  return false;
}

void show_settings(const http::Request& r, const Responder& responder, const v1::TenantSettings& s,
                   const Accepted* accepted) {
  auto response = http::json_response(200, views::settings(r.tenant(), s));
  response.header("ETag", "\"" + std::to_string(s.version()) + "-" + s.hash() + "\"");
  if (accepted) add_write_headers(response, *accepted);
  responder.send(std::move(response));
}

void put_settings(const Node& node, const RequestPtr& r, const Responder& responder) {
  v1::TenantCommand command;
  auto* put = command.mutable_put_settings();
  const auto& body = r->json.get_object();
  if (const std::string id = text_member(body, "tenant_id"); !id.empty() && id != r->param("id"))
    return responder.send(
        http::field_error({"body", "tenant_id"}, "must be the tenant of the path", "mismatch"));
  auto* s = put->mutable_settings();
  s->set_display_name(text_member(body, "display_name"));
  s->set_deployment_mode(text_member(body, "deployment_mode").empty()
                             ? "developer-light"
                             : text_member(body, "deployment_mode"));
  s->set_budgets_tokens(static_cast<std::int64_t>(number(body, "budgets_tokens", 5000)));
  s->set_default_model_profile(text_member(body, "default_model_profile").empty()
                                   ? "default"
                                   : text_member(body, "default_model_profile"));
  if (const auto match = r->headers.get("If-Match")) {
    std::string text(*match);
    std::erase(text, '"');
    const std::uint64_t version = std::strtoull(text.c_str(), nullptr, 10);
    if (version == 0)
      return responder.fail(
          {Code::kVersionMismatch, "If-Match must be an ETag of these settings", "If-Match"});
    put->set_expected_version(version);
  }
  node.host->submit(
      make_submission(*r, actors::tenant_key(r->tenant()), command, command_id_of(*r)),
      [r, responder](Result<Accepted> a) {
        if (!a) return responder.fail(a.error());
        v1::TenantReply reply;
        reply.ParseFromString(a->reply);
        show_settings(*r, responder, reply.settings(), &*a);
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
  const auto settings = http::make_schema(
      "TenantSettings", {{.name = "tenant_id"},
                         {.name = "display_name", .max_length = 200},
                         {.name = "deployment_mode"},
                         {.name = "budgets_tokens", .type = FieldType::kInt, .min = 0},
                         {.name = "default_model_profile", .max_length = 200}});
  router.add({.method = "POST",
              .pattern = "/v1/evaluate",
              .capability = "policy:evaluate",
              .summary = "Score an action",
              .tag = "policy",
              .request = body},
             [&node](auto r, auto responder) { evaluate(node, r, responder); });
  router.add(
      {.method = "GET",
       .pattern = "/v1/tenants/{id}",
       .capability = "tenant:read",
       .summary = "A tenant's settings",
       .tag = "settings"},
      [&node](auto r, auto responder) {
        if (!own_tenant(r, responder)) return;
        node.host->read(actors::tenant_key(r->tenant()), [r, responder](Result<StateView> v) {
          if (!v) return responder.send(http::problem_retry(v.error(), 1));
          show_settings(*r, responder,
                        actors::effective_settings(static_cast<const v1::TenantState&>(*v->state)),
                        nullptr);
        });
      });
  router.add({.method = "PUT",
              .pattern = "/v1/tenants/{id}",
              .capability = "tenant:write",
              .summary = "Change a tenant's settings",
              .tag = "settings",
              .request = settings,
              .idempotent_write = true},
             [&node](auto r, auto responder) {
               if (own_tenant(r, responder)) put_settings(node, r, responder);
             });
}

}  // namespace soma::runtime::api
