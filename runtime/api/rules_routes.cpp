// Policy rules over HTTP: load, read, validate, history.
#include <boost/json/array.hpp>

#include "actors/constitution/constitution.h"
#include "actors/policy/rules.h"
#include "actors/rules/rules.h"
#include "actors/version_tag.h"
#include "runtime/api/pages.h"
#include "runtime/api/rulebook.h"
#include "runtime/api/views.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::FieldType;
using http::Responder;

namespace {

constexpr const char* kWriteGlobal = "policy:write_global";

// As In-Force is read, so that the ETag of what a tenant does not have yet is that of version 0.
http::Response shown(const Rulebook::InForce& f, int status = 200) {
  static const v1::PolicyRules kNone;
  const auto& rules = f.rules ? *f.rules : kNone;
  auto response = http::json_response(
      status,
      json::object{{"version", rules.version()},
                   {"hash", rules.hash()},
                   {"rules", rules.text()},
                   {"scope", f.global ? "global" : "tenant"},
                   {"loaded_at", rules.version() ? json::value(views::iso_time(rules.loaded_ms()))
                                                 : json::value(nullptr)},
                   {"loaded_by", rules.loaded_by()}});
  response.header("ETag", "\"" + actors::version_tag(rules) + "\"");
  return response;
}

json::array shown(const std::vector<actors::RuleIssue>& issues) {
  json::array out;
  for (const auto& i : issues)
    out.push_back({{"line", i.line}, {"column", i.column}, {"message", i.message}});
  return out;
}

http::Response refused(const std::vector<actors::RuleIssue>& issues) {
  std::vector<http::FieldError> errors;
  for (const auto& i : issues) errors.push_back({{"body", "rules"}, to_string(i), "rules"});
  return http::problem({Code::kInvalidArgument, "rules: " + to_string(issues.front()), {}}, errors);
}

http::Response loaded(const Accepted& a, const std::string& text, bool global) {
  v1::RulesReply reply;
  reply.ParseFromString(a.reply);
  if (reply.active().text() != text || !reply.has_active())
    return http::json_response(
        202, json::object{{"status", "pending_approval"}, {"approval_id", reply.approval_id()}});
  return shown({std::make_shared<const v1::PolicyRules>(reply.active()), global});
}

void put(const Node& node, const RequestPtr& r, const Responder& responder) {
  const std::string text = text_member(r->json, "rules");
  if (const auto issues = actors::check_rules(text); !issues.empty())
    return responder.send(refused(issues));
  const bool global = r->query_value("scope").value_or("tenant") == "global";
  if (global && !security::has_capability(r->principal, kWriteGlobal))
    return responder.fail(
        {Code::kForbidden, std::string("the global rules need ") + kWriteGlobal, "scope"});
  with_settings(node, r, responder, [&node, r, responder, global, text](v1::TenantSettings s) {
    v1::RulesCommand command;
    auto* load = command.mutable_load_rules();
    load->set_text(text);
    load->set_two_keys(security::is_production_mode(s.deployment_mode()));
    for (auto& tag : if_match_tags(*r)) load->add_expected_tags(std::move(tag));
    const std::string tenant = global ? actors::kGlobalTenant : r->tenant();
    submit(node, r, responder,
           make_submission(*r, actors::rules_key(tenant), command, command_id_of(*r)),
           [text, global](const Accepted& a) { return loaded(a, text, global); });
  });
}

void with_in_force(const Node& node, const RequestPtr& r, const Responder& responder,
                   std::function<void(const Rulebook::InForce&)> next) {
  node.rulebook->in_force(*node.host, r->tenant(),
                          [responder, next = std::move(next)](Result<Rulebook::InForce> found) {
                            if (!found) return responder.send(problem_of(found.error()));
                            next(*found);
                          });
}

// Of the tenant's own rules, else of the global ones; newest first, without their texts.
void history(const Node& node, const RequestPtr& r, const Responder& responder) {
  with_in_force(node, r, responder, [&node, r, responder](const Rulebook::InForce& f) {
    const bool global = f.global;
    node.host->read(actors::rules_key(global ? actors::kGlobalTenant : r->tenant()),
                    [r, responder, global](Result<StateView> v) {
                      if (!v) return responder.send(problem_of(v.error()));
                      const auto& s = static_cast<const v1::RulesState&>(*v->state);
                      json::array items;
                      for (int i = s.past_size() - 1; i >= 0; --i)
                        items.push_back({{"version", s.past(i).version()},
                                         {"hash", s.past(i).hash()},
                                         {"scope", global ? "global" : "tenant"},
                                         {"loaded_at", views::iso_time(s.past(i).loaded_ms())},
                                         {"loaded_by", s.past(i).loaded_by()},
                                         {"in_force", i == s.past_size() - 1}});
                      responder.send(page_of(*r, std::move(items), "version"));
                    });
  });
}

}  // namespace

void register_rules(http::Router& router, const Node& node) {
  const auto body = http::make_schema(
      "PolicyRules", {{.name = "rules",
                       .required = true,
                       .description = "Cedar: forbid policies with @id; empty: none of its own",
                       .max_length = actors::kMaxRulesBytes}});
  const http::Field scope{.name = "scope", .one_of = {"tenant", "global"}};
  router.add({.method = "PUT",
              .pattern = "/v1/policy/rules",
              .capability = "policy:write",
              .summary = "Put policy rules in force",
              .tag = "policy",
              .request = body,
              .query = {scope},
              .idempotent_write = true},
             [&node](auto r, auto responder) { put(node, r, responder); });
  router.add({.method = "GET",
              .pattern = "/v1/policy/rules",
              .capability = "policy:read",
              .summary = "The policy rules in force",
              .tag = "policy"},
             [&node](auto r, auto responder) {
               with_in_force(node, r, responder,
                             [responder](const Rulebook::InForce& f) { responder.send(shown(f)); });
             });
  router.add({.method = "GET",
              .pattern = "/v1/policy/rules/history",
              .capability = "policy:read",
              .summary = "Versions that were in force, newest first",
              .tag = "policy",
              .query = page_fields()},
             [&node](auto r, auto responder) { history(node, r, responder); });
  router.add(
      {.method = "POST",
       .pattern = "/v1/policy/rules/validate",
       .capability = "policy:read",
       .summary = "What is wrong with policy rules",
       .tag = "policy",
       .request = http::make_schema("PolicyRulesText", {{.name = "rules", .required = true}})},
      [](auto r, auto responder) {
        const auto issues = actors::check_rules(text_member(r->json, "rules"));
        responder.send(http::json_response(
            200, json::object{{"valid", issues.empty()}, {"issues", shown(issues)}}));
      });
}

}  // namespace soma::runtime::api
