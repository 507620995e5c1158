// Constitutions over HTTP: load, read, validate, checksum.
#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>

#include "actors/constitution/constitution.h"
#include "runtime/api/constitutions.h"
#include "runtime/api/pages.h"
#include "runtime/api/views.h"
#include "runtime/security/canonical_json.h"
#include "schemas/base/sha256.h"
#include "schemas/json/json_text.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::FieldType;
using http::Responder;

namespace {

constexpr const char* kLoadGlobal = "constitution:load_global";

http::Response with_hash(http::Response response, const std::string& hash) {
  response.header("X-Constitution-Hash", hash);
  return response;
}

http::Response with_tag(http::Response response, const v1::Constitution& c) {
  response.header("ETag", "\"" + actors::version_tag(c) + "\"");
  return response;
}

// The bundle's own members, and ours behind them; the document byte for byte as it was hashed.
http::Response show(const Constitutions::InForce& f) {
  const auto& c = *f.constitution;
  std::string text = security::bundle_text(c);
  text.pop_back();
  const json::object more{{"number", c.number()},
                          {"scope", f.global ? "global" : "tenant"},
                          {"key_id", c.key_id()},
                          {"loaded_at", views::iso_time(c.loaded_ms())},
                          {"loaded_by", c.loaded_by()}};
  http::Response response;
  response.body = text + "," + json_text(more).substr(1);
  return with_tag(with_hash(std::move(response), c.hash()), c);
}

// With the hash of what is in force for the caller, where something is.
void send_with_hash(const Node& node, const RequestPtr& r, const Responder& responder,
                    http::Response response) {
  node.constitutions->in_force(
      *node.host, r->tenant(), [responder, response = std::move(response)](auto found) mutable {
        if (found && *found)
          response = with_hash(std::move(response), (*found)->constitution->hash());
        responder.send(std::move(response));
      });
}

void with_in_force(const Node& node, const RequestPtr& r, const Responder& responder,
                   std::function<void(const Constitutions::InForce&, const std::string&)> next) {
  node.constitutions->in_force(*node.host, r->tenant(), [r, responder, next](auto found) {
    if (!found) return responder.send(http::problem_retry(found.error(), 1));
    if (!*found) return responder.fail({Code::kNotFound, "no constitution is in force", {}});
    next(**found, (*found)->global ? actors::kGlobalTenant : r->tenant());
  });
}

void with_active(const Node& node, const RequestPtr& r, const Responder& responder,
                 std::function<http::Response(const Constitutions::InForce&)> answer) {
  node.constitutions->in_force(
      *node.host, r->tenant(), [responder, answer = std::move(answer)](auto in_force) {
        if (!in_force) return responder.send(http::problem_retry(in_force.error(), 1));
        if (!*in_force) return responder.fail({Code::kNotFound, "no constitution is in force", {}});
        responder.send(answer(**in_force));
      });
}

http::Response loaded(const Accepted& a, const v1::Constitution& c) {
  v1::ConstitutionReply reply;
  reply.ParseFromString(a.reply);
  if (reply.active().hash() != c.hash()) {
    auto waits = http::json_response(202, json::object{{"status", "pending_approval"},
                                                       {"approval_id", reply.approval_id()},
                                                       {"version", c.version()},
                                                       {"hash", c.hash()}});
    // Of what is in force meanwhile, if anything is.
    return reply.has_active() ? with_hash(std::move(waits), reply.active().hash()) : waits;
  }
  auto done = http::json_response(200, json::object{{"status", "active"},
                                                    {"version", c.version()},
                                                    {"hash", c.hash()},
                                                    {"number", reply.active().number()},
                                                    {"changed", reply.changed()}});
  return with_tag(with_hash(std::move(done), c.hash()), reply.active());
}

void submit_load(const Node& node, const RequestPtr& r, const Responder& responder, bool global,
                 const v1::ConstitutionCommand& command) {
  const std::string tenant = global ? actors::kGlobalTenant : r->tenant();
  node.host->submit(
      make_submission(*r, actors::constitution_key(tenant), command, command_id_of(*r)),
      [&node, r, responder, c = command.load_constitution().constitution()](Result<Accepted> a) {
        if (!a) return send_with_hash(node, r, responder, problem_of(a.error()));
        auto response = loaded(*a, c);
        add_write_headers(response, *a);
        responder.send(std::move(response));
      });
}

// What If-Match expects of the tenant's own constitution: a tag of the global one, which is shown
// to tenants without one, means that there is none.
void with_expected_tags(const Node& node, const RequestPtr& r, const Responder& responder,
                        bool global, std::function<void(std::vector<std::string>)> next) {
  auto tags = if_match_tags(*r);
  if (global || tags.empty()) return next(std::move(tags));
  node.constitutions->in_force(
      *node.host, r->tenant(), [responder, tags = std::move(tags), next](auto found) mutable {
        if (!found) return responder.send(http::problem_retry(found.error(), 1));
        const bool shown = *found && (*found)->global;
        if (shown && std::find(tags.begin(), tags.end(),
                               actors::version_tag(*(*found)->constitution)) != tags.end())
          tags.push_back(actors::version_tag(v1::Constitution()));
        next(std::move(tags));
      });
}

void load(const Node& node, const RequestPtr& r, const Responder& responder) {
  auto checked = security::check_bundle(r->body, node.constitutions->trusted());
  if (!checked.issues.empty()) {
    std::vector<http::FieldError> errors;
    for (const auto& issue : checked.issues)
      errors.push_back({{"body", issue.substr(0, issue.find(' '))}, issue, "constitution"});
    return send_with_hash(
        node, r, responder,
        http::problem({Code::kInvalidArgument, checked.issues.front(), {}}, errors));
  }
  const bool global = r->query_value("scope").value_or("tenant") == "global";
  if (global && !security::has_capability(r->principal, kLoadGlobal))
    return send_with_hash(
        node, r, responder,
        http::problem({Code::kForbidden,
                       std::string("the global constitution needs ") + kLoadGlobal, "scope"}));
  with_settings(
      node, r, responder,
      [&node, r, responder, global, c = std::move(checked.constitution)](v1::TenantSettings s) {
        v1::ConstitutionCommand command;
        *command.mutable_load_constitution()->mutable_constitution() = c;
        command.mutable_load_constitution()->set_two_keys(
            security::is_production_mode(s.deployment_mode()));
        with_expected_tags(
            node, r, responder, global,
            [&node, r, responder, global, command = std::move(command)](auto tags) mutable {
              for (auto& tag : tags)
                command.mutable_load_constitution()->add_expected_tags(std::move(tag));
              submit_load(node, r, responder, global, std::move(command));
            });
      });
}

void validate(const Node& node, const RequestPtr& r, const Responder& responder) {
  const auto checked = security::check_bundle(r->body, node.constitutions->trusted());
  json::array issues;
  for (const auto& issue : checked.issues) issues.emplace_back(issue);
  send_with_hash(node, r, responder,
                 http::json_response(200, json::object{{"valid", checked.issues.empty()},
                                                       {"issues", std::move(issues)}}));
}

void checksum(const Node& node, const RequestPtr& r, const Responder& responder) {
  const auto document = security::canonical_document(r->body);
  if (!document) return responder.fail(document.error());
  send_with_hash(node, r, responder,
                 http::json_response(200, json::object{{"checksum", sha256_hex(*document)},
                                                       {"algorithm", "sha256"}}));
}

void version(const Node& node, const RequestPtr& r, const Responder& responder) {
  with_active(node, r, responder, [](const Constitutions::InForce& f) {
    const auto& c = *f.constitution;
    return with_hash(http::json_response(200, json::object{{"version", c.version()},
                                                           {"hash", c.hash()},
                                                           {"number", c.number()},
                                                           {"issued_at", c.issued_at()}}),
                     c.hash());
  });
}

void hash(const Node& node, const RequestPtr& r, const Responder& responder) {
  with_active(node, r, responder, [](const Constitutions::InForce& f) {
    return with_hash(http::json_response(200, json::object{{"hash", f.constitution->hash()}}),
                     f.constitution->hash());
  });
}

// Of the tenant's own constitution, else of the global one; newest first.
void history(const Node& node, const RequestPtr& r, const Responder& responder) {
  with_in_force(node, r, responder,
                [&node, r, responder](const Constitutions::InForce& f, const std::string& tenant) {
                  const bool global = f.global;
                  const std::string hash = f.constitution->hash();
                  node.host->read(actors::constitution_key(tenant), [r, responder, global,
                                                                     hash](Result<StateView> v) {
                    if (!v) return responder.send(problem_of(v.error()));
                    const auto& s = static_cast<const v1::ConstitutionState&>(*v->state);
                    json::array items;
                    const auto add = [&](const auto& c, bool active) {
                      items.push_back({{"number", c.number()},
                                       {"version", c.version()},
                                       {"hash", c.hash()},
                                       {"loaded_at", views::iso_time(c.loaded_ms())},
                                       {"loaded_by", c.loaded_by()},
                                       {"scope", global ? "global" : "tenant"},
                                       {"in_force", active}});
                    };
                    add(s.active(), true);
                    for (int i = s.past_size() - 1; i >= 0; --i)
                      if (s.past(i).number() != s.active().number()) add(s.past(i), false);
                    responder.send(with_hash(page_of(*r, std::move(items), "number"), hash));
                  });
                });
}

// Another tenant's answers as a missing one.
bool own(const RequestPtr& r, const Responder& responder) {
  if (r->param("tenant") == r->tenant()) return true;
  responder.fail({Code::kNotFound, "no constitution is in force", {}});
  return false;
}

void register_reads(http::Router& router, const Node& node) {
  const auto get = [&](const char* path, const char* summary, auto handler,
                       std::vector<http::Field> query = {}) {
    router.add({.method = "GET",
                .pattern = path,
                .capability = "constitution:read",
                .summary = summary,
                .tag = "constitution",
                .query = std::move(query)},
               handler);
  };
  get("/v1/constitution", "The constitution in force",
      [&node](auto r, auto responder) { with_active(node, r, responder, show); });
  get("/v1/constitution/{tenant}", "A tenant's constitution in force",
      [&node](auto r, auto responder) {
        if (own(r, responder)) with_active(node, r, responder, show);
      });
  for (const char* path : {"/v1/constitution/version", "/constitution/version"})
    get(path, "Its version and hash",
        [&node](auto r, auto responder) { version(node, r, responder); });
  get(
      "/v1/constitution/history", "Versions that were in force, newest first",
      [&node](auto r, auto responder) { history(node, r, responder); }, page_fields());
  get("/v1/constitution/hash", "Its hash",
      [&node](auto r, auto responder) { hash(node, r, responder); });
  get("/v1/constitution/{tenant}/hash", "Its hash", [&node](auto r, auto responder) {
    if (own(r, responder)) hash(node, r, responder);
  });
}

}  // namespace

void register_constitution(http::Router& router, const Node& node) {
  // Open and without required members: the checks name every issue, not only the first missing one.
  const auto bundle = http::make_schema("ConstitutionBundle",
                                        {{.name = "version", .type = FieldType::kAny},
                                         {.name = "issued_at", .type = FieldType::kAny},
                                         {.name = "document", .type = FieldType::kAny},
                                         {.name = "hash", .type = FieldType::kAny},
                                         {.name = "signature", .type = FieldType::kAny}},
                                        true);
  const auto document = http::make_schema(
      "ConstitutionDocument", {{.name = "document", .type = FieldType::kObject, .required = true}});
  const http::Field scope{.name = "scope", .one_of = {"tenant", "global"}};
  for (const char* prefix : {"/v1", ""}) {
    const auto path = [&](const char* name) {
      return std::string(prefix) + "/constitution/" + name;
    };
    router.add({.method = "POST",
                .pattern = path("load"),
                .capability = "constitution:load",
                .summary = "Put a signed constitution in force",
                .tag = "constitution",
                .request = bundle,
                .query = {scope},
                .idempotent_write = true},
               [&node](auto r, auto responder) { load(node, r, responder); });
    router.add({.method = "POST",
                .pattern = path("validate"),
                .capability = "constitution:read",
                .summary = "What is wrong with a bundle",
                .tag = "constitution",
                .request = bundle,
                .raw_body = true},  // what cannot be read is a verdict, too
               [&node](auto r, auto responder) { validate(node, r, responder); });
    router.add({.method = "POST",
                .pattern = path("checksum"),
                .capability = "constitution:read",
                .summary = "SHA-256 of a document's canonical JSON",
                .tag = "constitution",
                .request = document},
               [&node](auto r, auto responder) { checksum(node, r, responder); });
  }
  register_reads(router, node);
}

}  // namespace soma::runtime::api
