// Model profiles and notification preferences over HTTP.
#include "actors/preferences/preferences.h"

#include <boost/json/array.hpp>

#include "runtime/api/submit.h"
#include "runtime/api/time_zones.h"
#include "runtime/api/views.h"
#include "soma/v1/preferences.pb.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::FieldType;
using http::Responder;

namespace {

bool own_tenant(const RequestPtr& r, const Responder& responder) {
  if (r->param("id") == r->tenant()) {
    const std::string id = text_member(r->json, "tenant_id");
    if (id.empty() || id == r->tenant()) return true;
    responder.send(
        http::field_error({"body", "tenant_id"}, "must be the tenant of the path", "mismatch"));
    return false;
  }
  responder.fail({Code::kNotFound, "Tenant not found", {}});
  return false;
}

json::value choice_view(const v1::ModelChoice& c) {
  if (c.named_only()) return json::value(c.primary());
  json::array fallbacks;
  for (const auto& f : c.fallbacks()) fallbacks.emplace_back(f);
  return json::object{{"primary", c.primary()}, {"fallbacks", std::move(fallbacks)}};
}

http::Response shown(const std::string& tenant, const v1::ModelProfile& p) {
  json::object out{{"tenant_id", tenant}, {"name", p.name()}};
  for (const char* role : actors::kModelRoles) {
    const auto it = p.roles().find(role);
    out[role] = it == p.roles().end() ? json::value(nullptr) : choice_view(it->second);
  }
  out["version"] = p.version();
  out["hash"] = p.hash();
  auto response = http::json_response(200, out);
  response.header("ETag", "\"" + actors::version_tag(p) + "\"");
  return response;
}

http::Response shown(const std::string& tenant, const v1::NotificationPreferences& p) {
  json::object out{
      {"tenant_id", tenant},
      {"user_id", p.user_id().empty() ? json::value(nullptr) : json::value(p.user_id())},
      {"quiet_hours", nullptr}};
  if (p.has_quiet_hours()) {
    const auto& q = p.quiet_hours();
    json::array days;
    for (const auto day : q.days()) days.emplace_back(day);
    out["quiet_hours"] = {{"timezone", q.timezone()},
                          {"start", q.start()},
                          {"end", q.end()},
                          {"days", std::move(days)}};
  }
  json::array channels;
  for (const auto& c : p.channels()) {
    json::object channel{{"channel", c.channel()},
                         {"enabled", c.enabled()},
                         {"severity_threshold", c.severity_threshold()}};
    if (!c.address().empty()) channel["address"] = c.address();
    if (!c.url().empty()) channel["url"] = c.url();
    if (!c.number().empty()) channel["number"] = c.number();
    channels.push_back(std::move(channel));
  }
  out["channels"] = std::move(channels);
  out["version"] = p.version();
  out["hash"] = p.hash();
  auto response = http::json_response(200, out);
  response.header("ETag", "\"" + actors::version_tag(p) + "\"");
  return response;
}

void with_preferences(const Node& node, const RequestPtr& r, const Responder& responder,
                      std::function<void(const v1::PreferencesState&)> next) {
  if (!own_tenant(r, responder)) return;
  node.host->read(actors::preferences_key(r->tenant()),
                  [responder, next = std::move(next)](Result<StateView> v) {
                    if (!v) return responder.send(problem_of(v.error()));
                    next(static_cast<const v1::PreferencesState&>(*v->state));
                  });
}

void put(const Node& node, const RequestPtr& r, const Responder& responder,
         const v1::PreferencesCommand& command) {
  submit(node, r, responder,
         make_submission(*r, actors::preferences_key(r->tenant()), command, command_id_of(*r)),
         [r](const Accepted& a) {
           v1::PreferencesReply reply;
           reply.ParseFromString(a.reply);
           return reply.has_profile() ? shown(r->tenant(), reply.profile())
                                      : shown(r->tenant(), reply.preferences());
         });
}

// A name, or {primary, fallbacks?}.
Status read_choice(const json::value& v, const std::string& role, v1::ModelChoice& out) {
  if (v.is_string()) {
    out.set_primary(std::string(v.get_string()));
    out.set_named_only(true);
    return {};
  }
  const std::string field = "body." + role;
  if (!v.is_object())
    return fail(Code::kInvalidArgument,
                role + " must be a model's name or an object with primary and fallbacks", field);
  out.set_primary(text_member(v, "primary"));
  const auto* fallbacks = v.get_object().if_contains("fallbacks");
  if (fallbacks == nullptr || fallbacks->is_null()) return {};
  if (!fallbacks->is_array())
    return fail(Code::kInvalidArgument, role + ".fallbacks must be a list of names",
                field + ".fallbacks");
  for (const auto& f : fallbacks->get_array()) {
    if (!f.is_string())
      return fail(Code::kInvalidArgument, role + ".fallbacks must be a list of names",
                  field + ".fallbacks");
    out.add_fallbacks(std::string(f.get_string()));
  }
  return {};
}

void put_profile(const Node& node, const RequestPtr& r, const Responder& responder) {
  if (!own_tenant(r, responder)) return;
  v1::PreferencesCommand command;
  auto* profile = command.mutable_put_model_profile()->mutable_profile();
  const std::string named = r->query_value("name").value_or("");
  const std::string name =
      text_member(r->json, "name").empty() ? named : text_member(r->json, "name");
  if (!named.empty() && name != named)
    return responder.send(
        http::field_error({"body", "name"}, "must be the name of the query", "mismatch"));
  profile->set_name(name.empty() ? "default" : name);
  for (const char* role : actors::kModelRoles) {
    const auto* v = r->json.get_object().if_contains(role);
    if (v == nullptr || v->is_null()) continue;
    if (auto ok = read_choice(*v, role, (*profile->mutable_roles())[role]); !ok)
      return responder.fail(ok.error());
  }
  for (auto& tag : if_match_tags(*r))
    command.mutable_put_model_profile()->add_expected_tags(std::move(tag));
  put(node, r, responder, command);
}

Status read_quiet_hours(const json::object& q, std::int64_t now_s, v1::QuietHours& out) {
  out.set_timezone(text_member(q, "timezone"));
  out.set_start(text_member(q, "start"));
  out.set_end(text_member(q, "end"));
  if (const auto* days = q.if_contains("days"); days && days->is_array())
    for (const auto& day : days->get_array()) {
      const std::int64_t n = day.is_int64() ? day.get_int64() : 0;
      out.add_days(n >= 1 && n <= 7 ? static_cast<std::uint32_t>(n) : 0);
    }
  auto known = zone_offsets(out.timezone(), now_s, "body.quiet_hours.timezone");
  return known ? Status{} : tl::unexpected(known.error());
}

void put_notifications(const Node& node, const RequestPtr& r, const Responder& responder) {
  if (!own_tenant(r, responder)) return;
  const auto& body = r->json.get_object();
  const std::string named = r->query_value("user_id").value_or("");
  const std::string user =
      text_member(body, "user_id").empty() ? named : text_member(body, "user_id");
  if (!named.empty() && user != named)
    return responder.send(
        http::field_error({"body", "user_id"}, "must be the user of the query", "mismatch"));
  v1::PreferencesCommand command;
  auto* p = command.mutable_put_notification_preferences()->mutable_preferences();
  p->set_user_id(user);
  if (const auto* q = body.if_contains("quiet_hours"); q && q->is_object())
    if (auto ok = read_quiet_hours(q->get_object(), node.clock->now_ms() / 1000,
                                   *p->mutable_quiet_hours());
        !ok)
      return responder.send(problem_of(ok.error()));
  if (const auto* channels = body.if_contains("channels"); channels && channels->is_array())
    for (const auto& v : channels->get_array()) {
      auto* c = p->add_channels();
      c->set_channel(text_member(v, "channel"));
      const auto* enabled = v.get_object().if_contains("enabled");
      c->set_enabled(!enabled || !enabled->is_bool() || enabled->get_bool());
      const std::string threshold = text_member(v, "severity_threshold");
      c->set_severity_threshold(threshold.empty() ? "info" : threshold);
      c->set_address(text_member(v, "address"));
      c->set_url(text_member(v, "url"));
      c->set_number(text_member(v, "number"));
    }
  for (auto& tag : if_match_tags(*r))
    command.mutable_put_notification_preferences()->add_expected_tags(std::move(tag));
  put(node, r, responder, command);
}

http::SchemaRef profile_schema() {
  std::vector<http::Field> fields = {{.name = "tenant_id"}, {.name = "name", .max_length = 200}};
  for (const char* role : actors::kModelRoles)
    fields.push_back({.name = role,
                      .type = FieldType::kAny,
                      .description = "A model's name, or {primary, fallbacks}",
                      .nullable = true});
  fields.push_back({.name = "version", .type = FieldType::kInt, .description = "Not taken"});
  fields.push_back({.name = "hash", .description = "Not taken"});
  return http::make_schema("ModelProfile", std::move(fields));
}

http::SchemaRef notification_schema() {
  const auto quiet =
      http::make_schema("QuietHours", {{.name = "timezone", .required = true, .max_length = 64},
                                       {.name = "start", .required = true, .max_length = 5},
                                       {.name = "end", .required = true, .max_length = 5},
                                       {.name = "days",
                                        .type = FieldType::kArray,
                                        .max_length = 7,
                                        .nullable = true,
                                        .items = FieldType::kInt}});
  const auto channel = http::make_schema(
      "NotificationChannel",
      {{.name = "channel", .required = true, .one_of = {"web", "email", "sms", "webhook"}},
       {.name = "enabled", .type = FieldType::kBool},
       {.name = "severity_threshold", .one_of = {"info", "warning", "error", "critical"}},
       {.name = "address", .max_length = 256},
       {.name = "url", .max_length = 2048},
       {.name = "number", .max_length = 32}});
  return http::make_schema(
      "NotificationPreferences",
      {{.name = "tenant_id"},
       {.name = "user_id", .max_length = 256, .nullable = true},
       {.name = "quiet_hours", .type = FieldType::kObject, .nullable = true, .schema = quiet},
       {.name = "channels",
        .type = FieldType::kArray,
        .max_length = 16,
        .items = FieldType::kObject,
        .schema = channel},
       {.name = "version", .type = FieldType::kInt, .description = "Not taken"},
       {.name = "hash", .description = "Not taken"}});
}

void add(http::Router& router, const char* method, const char* path, const char* summary,
         http::SchemaRef body, http::Field query, http::Handler handler) {
  const bool write = body != nullptr;
  router.add({.method = method,
              .pattern = path,
              .capability = write ? "tenant:write" : "tenant:read",
              .summary = summary,
              .tag = "settings",
              .request = std::move(body),
              .query = {std::move(query)},
              .idempotent_write = write},
             std::move(handler));
}

}  // namespace

void register_preferences(http::Router& router, const Node& node) {
  const http::Field name{.name = "name", .max_length = 200};
  const http::Field user{.name = "user_id", .max_length = 256};
  add(router, "GET", "/v1/tenants/{id}/model-profiles", "Which model takes which role", nullptr,
      name, [&node](auto r, auto responder) {
        with_preferences(node, r, responder, [r, responder](const v1::PreferencesState& s) {
          const std::string wanted = r->query_value("name").value_or("default");
          const auto it = s.profiles().find(wanted);
          v1::ModelProfile profile;
          profile.set_name(wanted);
          if (it != s.profiles().end()) profile = it->second;
          if (it == s.profiles().end() && wanted != "default")
            return responder.fail({Code::kNotFound, "Model profile not found", {}});
          responder.send(shown(r->tenant(), profile));
        });
      });
  add(router, "PUT", "/v1/tenants/{id}/model-profiles", "Set which model takes which role",
      profile_schema(), name, [&node](auto r, auto responder) { put_profile(node, r, responder); });
  add(router, "GET", "/v1/tenants/{id}/notification-preferences",
      "How the tenant, or one user, wants to be told of things", nullptr, user,
      [&node](auto r, auto responder) {
        with_preferences(node, r, responder, [r, responder](const v1::PreferencesState& s) {
          const std::string wanted = r->query_value("user_id").value_or("");
          const auto it = s.notifications().find(wanted);
          v1::NotificationPreferences none;
          none.set_user_id(wanted);
          responder.send(shown(r->tenant(), it == s.notifications().end() ? none : it->second));
        });
      });
  add(router, "PUT", "/v1/tenants/{id}/notification-preferences",
      "Set how the tenant, or one user, wants to be told of things", notification_schema(), user,
      [&node](auto r, auto responder) { put_notifications(node, r, responder); });
}

}  // namespace soma::runtime::api
