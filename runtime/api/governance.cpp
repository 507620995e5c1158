// Policy evaluation and tenants' settings.
#include <algorithm>
#include <boost/json/array.hpp>

#include "actors/constitution/constitution.h"
#include "actors/decision/decision.h"
#include "actors/tenant/tenant.h"
#include "runtime/api/constitutions.h"
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
        if (!found) return responder.send(problem_of(found.error()));
        v1::DecisionCommand command;
        *command.mutable_decide_policy()->mutable_input() = input;
        command.mutable_decide_policy()->set_mode(node.mode);
        if (*found)  // none: the judgement says so and refuses
          *command.mutable_decide_policy()->mutable_constitution() =
              actors::in_force(*(*found)->constitution);
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

// The settings of the caller's own tenant; others' answer as missing.
bool own_tenant(const RequestPtr& r, const Responder& responder) {
  if (r->param("id") == r->tenant()) return true;
  responder.fail({Code::kNotFound, "Tenant not found", {}});
  return false;
}

void show_settings(const http::Request& r, const Responder& responder, const v1::TenantSettings& s,
                   const Accepted* accepted) {
  auto response = http::json_response(200, views::settings(r.tenant(), s));
  response.header("ETag", "\"" + actors::version_tag(s) + "\"");
  if (accepted) add_write_headers(response, *accepted);
  responder.send(std::move(response));
}

// The strong tags of an If-Match; a weak or unquoted one is kept as it is, and so matches nothing.
std::vector<std::string> tags_of(std::string_view header) {
  std::vector<std::string> out;
  while (!header.empty()) {
    const auto end = std::min(header.find(','), header.size());
    auto tag = header.substr(0, end);
    header.remove_prefix(std::min(end + 1, header.size()));
    while (tag.starts_with(' ') || tag.starts_with('\t')) tag.remove_prefix(1);
    while (tag.ends_with(' ') || tag.ends_with('\t')) tag.remove_suffix(1);
    const bool quoted = tag.size() >= 2 && tag.front() == '"' && tag.back() == '"';
    out.emplace_back(quoted ? tag.substr(1, tag.size() - 2) : "unquoted " + std::string(tag));
  }
  if (out.empty()) out.emplace_back("none");
  return out;
}

// A tenant sees itself; that there are others is not its business.
void list_tenants(const Node& node, const RequestPtr& r, const Responder& responder) {
  node.host->read(actors::tenant_key(r->tenant()), [r, responder](Result<StateView> v) {
    if (!v) return responder.send(problem_of(v.error()));
    const auto settings =
        actors::effective_settings(static_cast<const v1::TenantState&>(*v->state));
    json::array items;
    if (r->query_value("cursor").value_or("").empty())
      items.push_back(views::settings(r->tenant(), settings));
    responder.send(http::json_response(
        200, json::object{{"items", std::move(items)}, {"next_cursor", nullptr}}));
  });
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
  if (const auto match = r->headers.get("If-Match"); match && *match != "*")
    for (auto& tag : tags_of(*match)) put->add_expected_tags(std::move(tag));
  node.host->submit(
      make_submission(*r, actors::tenant_key(r->tenant()), command, command_id_of(*r)),
      [r, responder](Result<Accepted> a) {
        if (!a) return responder.send(problem_of(a.error()));
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
              .request = body,
              .idempotent_write = true},
             [&node](auto r, auto responder) { evaluate(node, r, responder); });
  router.add({.method = "GET",
              .pattern = "/v1/tenants",
              .capability = "tenant:read",
              .summary = "The tenants that the caller may see: its own",
              .tag = "settings",
              .query = {limit_field(), {.name = "cursor", .max_length = 200}}},
             [&node](auto r, auto responder) { list_tenants(node, r, responder); });
  router.add(
      {.method = "GET",
       .pattern = "/v1/tenants/{id}",
       .capability = "tenant:read",
       .summary = "A tenant's settings",
       .tag = "settings"},
      [&node](auto r, auto responder) {
        if (!own_tenant(r, responder)) return;
        node.host->read(actors::tenant_key(r->tenant()), [r, responder](Result<StateView> v) {
          if (!v) return responder.send(problem_of(v.error()));
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
