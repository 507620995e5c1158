// A tenant's settings over HTTP: versions, history and rollback, what its budgets have counted.
#include <boost/json/array.hpp>

#include "actors/policy/policy.h"
#include "actors/preferences/preferences.h"
#include "actors/tenant/budget.h"
#include "actors/tenant/tenant.h"
#include "runtime/api/pages.h"
#include "runtime/api/time_zones.h"
#include "runtime/api/views.h"
#include "soma/v1/preferences.pb.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::FieldType;
using http::Responder;

namespace {

constexpr std::int64_t kDefaultSeconds = 60;  // of a rate limit
constexpr const char* kDefaultProfile =
    "default";  // needs not be there: the node's own model answers

std::int64_t whole(const json::object& body, const char* name, std::int64_t fallback) {
  const auto* v = body.if_contains(name);
  return v && v->is_number() ? v->to_number<std::int64_t>() : fallback;
}

const json::object* part(const json::object& body, const char* name) {
  const auto* v = body.if_contains(name);
  return v && v->is_object() ? &v->get_object() : nullptr;
}

// Those that are the contract's own are not kept: so that all ways to say the same are one version.
void read_policy(const json::object& p, v1::PolicySettings& out) {
  const actors::PolicyWeights defaults;
  const auto take = [&](const char* name, double fallback, auto set) {
    const auto* v = p.if_contains(name);
    if (v && v->is_number() && v->to_number<double>() != fallback) set(v->to_number<double>());
  };
  take("confidence_weight", defaults.confidence, [&](double v) { out.set_confidence_weight(v); });
  take("risk_weight", defaults.risk, [&](double v) { out.set_risk_weight(v); });
  take("cost_weight", defaults.cost, [&](double v) { out.set_cost_weight(v); });
  take("human_penalty", defaults.human_penalty, [&](double v) { out.set_human_penalty(v); });
  take("threshold", defaults.threshold, [&](double v) { out.set_threshold(v); });
  take("production_threshold", defaults.production_threshold,
       [&](double v) { out.set_production_threshold(v); });
}

// Left unset when there is none, or none of any.
void read_rate(const json::object& limits, const char* name, v1::RateLimits& out,
               v1::RateLimit* (v1::RateLimits::*member)()) {
  const auto* limit = part(limits, name);
  if (limit == nullptr || whole(*limit, "requests", 0) == 0) return;
  auto* rate = (out.*member)();
  rate->set_requests(whole(*limit, "requests", 0));
  rate->set_seconds(whole(*limit, "seconds", kDefaultSeconds));
}

Status read_budgets(const json::array& rules, std::int64_t now_s, v1::TenantSettings& out) {
  for (std::size_t i = 0; i < rules.size(); ++i) {
    const auto& rule = rules[i].get_object();
    auto* r = out.add_budgets();
    r->set_scope(text_member(rule, "scope"));
    r->set_unit(text_member(rule, "unit"));
    r->set_window(text_member(rule, "window").empty() ? "total" : text_member(rule, "window"));
    if (const auto* hard = rule.if_contains("hard"); hard && hard->is_number())
      r->set_hard(hard->to_number<std::int64_t>());
    r->set_soft(whole(rule, "soft", 0));
    r->set_timezone(text_member(rule, "timezone"));
    if (r->timezone().empty()) continue;
    auto offsets =
        zone_offsets(r->timezone(), now_s, "body.budgets." + std::to_string(i) + ".timezone");
    if (!offsets) return tl::unexpected(offsets.error());
    for (auto& offset : *offsets) *r->add_offsets() = std::move(offset);
  }
  return {};
}

Status read_settings(const json::object& body, std::int64_t now_s, v1::TenantSettings& s) {
  const auto text = [&](const char* name, const char* fallback) {
    const std::string given = text_member(body, name);
    return given.empty() ? std::string(fallback) : given;
  };
  s.set_display_name(text_member(body, "display_name"));
  s.set_deployment_mode(text_member(body, "deployment_mode"));  // absent: as it is
  s.set_budgets_tokens(whole(body, "budgets_tokens", 5000));
  s.set_default_model_profile(text("default_model_profile", kDefaultProfile));
  s.set_price_per_million_tokens(whole(body, "price_per_million_tokens", 0));
  if (const auto* policy = part(body, "policy")) {
    v1::PolicySettings given;
    read_policy(*policy, given);
    if (given.ByteSizeLong() > 0) *s.mutable_policy() = std::move(given);
  }
  if (const auto* limits = part(body, "rate_limits")) {
    v1::RateLimits given;
    read_rate(*limits, "tenant", given, &v1::RateLimits::mutable_tenant);
    read_rate(*limits, "user", given, &v1::RateLimits::mutable_user);
    if (given.ByteSizeLong() > 0) *s.mutable_rate_limits() = std::move(given);
  }
  const auto* budgets = body.if_contains("budgets");
  if (budgets && budgets->is_array()) return read_budgets(budgets->get_array(), now_s, s);
  return {};
}

// The settings of the caller's own tenant; others' answer as missing.
bool own_tenant(const RequestPtr& r, const Responder& responder) {
  if (r->param("id") == r->tenant()) return true;
  responder.fail({Code::kNotFound, "Tenant not found", {}});
  return false;
}

void with_tenant(const Node& node, const RequestPtr& r, const Responder& responder,
                 std::function<void(const v1::TenantState&)> next) {
  if (!own_tenant(r, responder)) return;
  node.host->read(actors::tenant_key(r->tenant()),
                  [responder, next = std::move(next)](Result<StateView> v) {
                    if (!v) return responder.send(problem_of(v.error()));
                    next(static_cast<const v1::TenantState&>(*v->state));
                  });
}

http::Response shown(const std::string& tenant, const v1::TenantSettings& s,
                     const json::object& beside = {}) {
  json::object out = views::settings(tenant, s);
  for (const auto& member : beside) out[member.key()] = member.value();
  auto response = http::json_response(200, out);
  response.header("ETag", "\"" + actors::version_tag(s) + "\"");
  return response;
}

// What waits for another person, whole, and its approval; nothing where nothing waits.
json::object proposal(const std::string& tenant, const v1::TenantState& s) {
  if (!s.has_proposed()) return {};
  json::object next = views::settings(tenant, s.proposed().settings());
  next.erase("version");  // it gets one when it is approved
  return {{"proposed", json::object{{"approval_id", s.approval_id()},
                                    {"proposed_by", s.proposed().proposed_by()},
                                    {"proposed_at", views::iso_time(s.proposed().at_ms())},
                                    {"settings", std::move(next)}}}};
}

// A tenant sees itself; that there are others is not its business.
void list_tenants(const Node& node, const RequestPtr& r, const Responder& responder) {
  node.host->read(actors::tenant_key(r->tenant()), [r, responder](Result<StateView> v) {
    if (!v) return responder.send(problem_of(v.error()));
    const auto settings =
        actors::effective_settings(static_cast<const v1::TenantState&>(*v->state));
    responder.send(page_of(*r, json::array{views::settings(r->tenant(), settings)}, "tenant_id"));
  });
}

void submit_settings(const Node& node, const RequestPtr& r, const Responder& responder,
                     const v1::TenantCommand& command) {
  submit(node, r, responder,
         make_submission(*r, actors::tenant_key(r->tenant()), command, command_id_of(*r)),
         [r](const Accepted& a) {
           v1::TenantReply reply;
           reply.ParseFromString(a.reply);
           if (reply.approval_id().empty()) return shown(r->tenant(), reply.settings());
           return http::json_response(
               202, json::object{{"status", "pending_approval"},
                                 {"approval_id", reply.approval_id()},
                                 {"tenant_id", r->tenant()},
                                 {"settings", views::settings(r->tenant(), reply.settings())}});
         });
}

void put_settings(const Node& node, const RequestPtr& r, const Responder& responder) {
  if (!own_tenant(r, responder)) return;
  v1::TenantCommand command;
  auto* put = command.mutable_put_settings();
  const auto& body = r->json.get_object();
  if (const std::string id = text_member(body, "tenant_id"); !id.empty() && id != r->param("id"))
    return responder.send(
        http::field_error({"body", "tenant_id"}, "must be the tenant of the path", "mismatch"));
  if (auto ok = read_settings(body, node.clock->now_ms() / 1000, *put->mutable_settings()); !ok)
    return responder.send(problem_of(ok.error()));
  for (auto& tag : if_match_tags(*r)) put->add_expected_tags(std::move(tag));
  submit_settings(node, r, responder, command);
}

void roll_back(const Node& node, const RequestPtr& r, const Responder& responder) {
  if (!own_tenant(r, responder)) return;
  v1::TenantCommand command;
  auto* back = command.mutable_roll_back_settings();
  back->set_version(static_cast<std::uint64_t>(whole(r->json.get_object(), "version", 0)));
  for (auto& tag : if_match_tags(*r)) back->add_expected_tags(std::move(tag));
  submit_settings(node, r, responder, command);
}

// Newest first.
json::array history(const std::string& tenant, const v1::TenantState& s) {
  json::array items;
  for (int i = s.history_size() - 1; i >= 0; --i) {
    const auto& v = s.history(i);
    items.push_back({{"version", v.settings().version()},
                     {"hash", v.settings().hash()},
                     {"changed_at", views::iso_time(v.at_ms())},
                     {"changed_by", v.changed_by()},
                     {"settings", views::settings(tenant, v.settings())}});
  }
  return items;
}

json::object counted(const v1::TenantState& s, const v1::BudgetRule& rule, const std::string& user,
                     std::int64_t now_ms) {
  const auto window = actors::window_of(rule, now_ms);
  const auto now = actors::usage_in(s, actors::counter_name(rule, user), window.start_ms);
  const std::int64_t used = now ? now->used() : 0;
  const std::int64_t reserved = now ? now->reserved() : 0;
  json::object out = views::budget_rule(rule);
  if (rule.scope() == "user") out["user_id"] = user;
  out["used"] = used;
  out["reserved"] = reserved;
  out["remaining"] = rule.has_hard()
                         ? json::value(std::max<std::int64_t>(0, rule.hard() - used - reserved))
                         : json::value(nullptr);
  out["resets_at"] = window.end_ms ? json::value(views::iso_time(window.end_ms)) : nullptr;
  return out;
}

// Of the tenant, and of one user: the caller unless another is named.
json::object usage(const v1::TenantState& s, const std::string& tenant, const std::string& user,
                   std::int64_t now_ms) {
  const auto settings = actors::effective_settings(s);
  json::array budgets;
  for (const auto& rule : settings.budgets())
    if (rule.scope() != "session") budgets.push_back(counted(s, rule, user, now_ms));
  const std::int64_t left = settings.budgets_tokens() - s.spent_tokens() - s.reserved_tokens();
  return {{"tenant_id", tenant},
          {"budgets_tokens", settings.budgets_tokens()},
          {"spent_tokens", s.spent_tokens()},
          {"reserved_tokens", s.reserved_tokens()},
          {"remaining_tokens", std::max<std::int64_t>(0, left)},
          {"budgets", std::move(budgets)}};
}

http::SchemaRef settings_schema() {
  const auto weight = [](const char* name) {
    return http::Field{.name = name, .type = FieldType::kNumber, .min = 0, .max = 1};
  };
  const auto policy =
      http::make_schema("PolicyWeights", {weight("confidence_weight"), weight("risk_weight"),
                                          weight("cost_weight"), weight("human_penalty"),
                                          weight("threshold"), weight("production_threshold")});
  const auto rate = http::make_schema(
      "RateLimit", {{.name = "requests", .type = FieldType::kInt, .min = 0, .max = 1e9},
                    {.name = "seconds", .type = FieldType::kInt, .min = 1, .max = 86400}});
  const auto rates = http::make_schema(
      "RateLimits",
      {{.name = "tenant", .type = FieldType::kObject, .nullable = true, .schema = rate},
       {.name = "user", .type = FieldType::kObject, .nullable = true, .schema = rate}});
  const auto budget = http::make_schema(
      "BudgetRule",
      {{.name = "scope", .required = true, .one_of = {"tenant", "user", "session"}},
       {.name = "unit", .required = true, .one_of = {"tokens", "requests", "money"}},
       {.name = "hard", .type = FieldType::kInt, .min = 0, .max = 1e15, .nullable = true},
       {.name = "soft", .type = FieldType::kInt, .min = 0, .max = 1e15, .nullable = true},
       {.name = "window", .one_of = {"hour", "day", "week", "month", "total"}},
       {.name = "timezone", .max_length = 64}});
  return http::make_schema(
      "TenantSettings",
      {{.name = "tenant_id"},
       {.name = "display_name", .max_length = 200},
       {.name = "deployment_mode"},
       {.name = "budgets_tokens", .type = FieldType::kInt, .min = 0},
       {.name = "default_model_profile", .max_length = 200},
       {.name = "policy", .type = FieldType::kObject, .nullable = true, .schema = policy},
       {.name = "rate_limits", .type = FieldType::kObject, .nullable = true, .schema = rates},
       {.name = "budgets",
        .type = FieldType::kArray,
        .max_length = actors::kMaxBudgetRules,
        .items = FieldType::kObject,
        .schema = budget},
       {.name = "price_per_million_tokens",
        .type = FieldType::kInt,
        .description = "Micro-units of your currency",
        .min = 0,
        .max = 1e12},
       {.name = "version", .type = FieldType::kInt, .description = "As read; not taken"},
       {.name = "hash", .description = "As read; not taken"},
       {.name = "proposed", .type = FieldType::kObject, .description = "As read; not taken"}});
}

void register_versions(http::Router& router, const Node& node) {
  router.add({.method = "GET",
              .pattern = "/v1/tenants/{id}/history",
              .capability = "tenant:read",
              .summary = "Earlier versions of a tenant's settings, newest first",
              .tag = "settings",
              .query = page_fields()},
             [&node](auto r, auto responder) {
               with_tenant(node, r, responder, [r, responder](const v1::TenantState& s) {
                 responder.send(page_of(*r, history(r->tenant(), s), "version"));
               });
             });
  router.add(
      {.method = "POST",
       .pattern = "/v1/tenants/{id}/rollback",
       .capability = "tenant:write",
       .summary = "Put an earlier version's content again, as a new version",
       .tag = "settings",
       .request = http::make_schema(
           "Rollback", {{.name = "version", .type = FieldType::kInt, .required = true, .min = 1}}),
       .responses = {{.status = 200}, {.status = 202}},
       .idempotent_write = true},
      [&node](auto r, auto responder) { roll_back(node, r, responder); });
  router.add({.method = "GET",
              .pattern = "/v1/tenants/{id}/usage",
              .capability = "tenant:read",
              .summary = "What budgets have counted, and what is left",
              .tag = "settings",
              .query = {{.name = "user_id", .max_length = 256}}},
             [&node](auto r, auto responder) {
               with_tenant(node, r, responder, [&node, r, responder](const v1::TenantState& s) {
                 const std::string user =
                     r->query_value("user_id").value_or(r->principal.subject());
                 responder.send(
                     http::json_response(200, usage(s, r->tenant(), user, node.clock->now_ms())));
               });
             });
}

}  // namespace

void register_tenant_settings(http::Router& router, const Node& node) {
  router.add({.method = "GET",
              .pattern = "/v1/tenants",
              .capability = "tenant:read",
              .summary = "The tenants that the caller may see: its own",
              .tag = "settings",
              .query = page_fields()},
             [&node](auto r, auto responder) { list_tenants(node, r, responder); });
  router.add({.method = "GET",
              .pattern = "/v1/tenants/{id}",
              .capability = "tenant:read",
              .summary = "A tenant's settings",
              .tag = "settings"},
             [&node](auto r, auto responder) {
               with_tenant(node, r, responder, [r, responder](const v1::TenantState& s) {
                 responder.send(
                     shown(r->tenant(), actors::effective_settings(s), proposal(r->tenant(), s)));
               });
             });
  router.add({.method = "PUT",
              .pattern = "/v1/tenants/{id}",
              .capability = "tenant:write",
              .summary = "Change a tenant's settings",
              .tag = "settings",
              .request = settings_schema(),
              .responses = {{.status = 200}, {.status = 202}},
              .idempotent_write = true},
             [&node](auto r, auto responder) { put_settings(node, r, responder); });
  register_versions(router, node);
}

}  // namespace soma::runtime::api
