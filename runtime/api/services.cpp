// A tenant's service principals: programs that act by themselves, under a subject of their own.
#include <boost/json/array.hpp>

#include "actors/identity/identity.h"
#include "runtime/api/submit.h"
#include "runtime/api/views.h"
#include "soma/v1/identity.pb.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::FieldType;
using http::Responder;

namespace {

constexpr std::int64_t kListDefault = 50;

json::object view(const v1::Service& s) {
  json::array capabilities;
  for (const auto& c : s.capabilities()) capabilities.emplace_back(c);
  return {{"service_id", s.service_id()},
          {"subject", std::string(actors::kServicePrefix) + s.service_id()},
          {"description", s.description()},
          {"capabilities", std::move(capabilities)},
          {"active", s.active()},
          {"version", s.version()},
          {"hash", s.hash()},
          {"updated_at", views::iso_time(s.updated_ms())},
          {"updated_by", s.updated_by()}};
}

http::Response shown(const v1::Service& s) {
  auto response = http::json_response(200, view(s));
  response.header("ETag", "\"" + actors::version_tag(s) + "\"");
  return response;
}

void with_services(const Node& node, const RequestPtr& r, const Responder& responder,
                   std::function<void(const v1::IdentityState&)> next) {
  node.host->read(actors::identity_key(r->tenant()),
                  [responder, next = std::move(next)](Result<StateView> v) {
                    if (!v) return responder.send(problem_of(v.error()));
                    next(static_cast<const v1::IdentityState&>(*v->state));
                  });
}

// By id; the cursor is the last one shown.
void list(const Node& node, const RequestPtr& r, const Responder& responder) {
  with_services(node, r, responder, [r, responder](const v1::IdentityState& s) {
    std::map<std::string, const v1::Service*> sorted;
    for (const auto& [id, service] : s.services()) sorted[id] = &service;
    auto at = sorted.upper_bound(r->query_value("cursor").value_or(""));
    const auto limit = static_cast<std::size_t>(r->query_int("limit", kListDefault));
    json::array items;
    json::value next;
    for (; at != sorted.end() && items.size() < limit; ++at) {
      items.push_back(view(*at->second));
      next = at->first;
    }
    if (at == sorted.end()) next = nullptr;
    responder.send(
        http::json_response(200, json::object{{"items", std::move(items)}, {"next_cursor", next}}));
  });
}

void read(const Node& node, const RequestPtr& r, const Responder& responder) {
  with_services(node, r, responder, [r, responder](const v1::IdentityState& s) {
    const auto it = s.services().find(r->param("id"));
    if (it == s.services().end()) return responder.fail({Code::kNotFound, "Service not found", {}});
    responder.send(shown(it->second));
  });
}

// Nobody makes a service that may do what its maker may not.
void put(const Node& node, const RequestPtr& r, const Responder& responder) {
  const auto& body = r->json.get_object();
  const std::string id = text_member(r->json, "service_id");
  if (!id.empty() && id != r->param("id"))
    return responder.send(
        http::field_error({"body", "service_id"}, "must be the service of the path", "mismatch"));
  v1::IdentityCommand command;
  auto* service = command.mutable_put_service()->mutable_service();
  service->set_service_id(r->param("id"));
  service->set_description(text_member(r->json, "description"));
  const auto* active = body.if_contains("active");
  service->set_active(!active || !active->is_bool() || active->get_bool());
  const auto& list = body.at("capabilities").get_array();
  for (std::size_t i = 0; i < list.size(); ++i) {
    std::string capability(list[i].get_string());
    if (!security::is_valid_capability(capability))
      return responder.send(http::field_error({"body", "capabilities", std::to_string(i)},
                                              "must be area:verb, area:* or *", "invalid"));
    if (!security::has_capability(r->principal, capability))
      return responder.fail(
          {Code::kForbidden,
           "nobody can give away the capability " + capability + " without having it",
           "body.capabilities." + std::to_string(i)});
    service->add_capabilities(std::move(capability));
  }
  for (auto& tag : if_match_tags(*r))
    command.mutable_put_service()->add_expected_tags(std::move(tag));
  submit(node, r, responder,
         make_submission(*r, actors::identity_key(r->tenant()), command, command_id_of(*r)),
         [](const Accepted& a) {
           v1::IdentityReply reply;
           reply.ParseFromString(a.reply);
           return shown(reply.service());
         });
}

}  // namespace

void register_services(http::Router& router, const Node& node) {
  router.add({.method = "GET",
              .pattern = "/v1/services",
              .capability = "service:read",
              .summary = "The tenant's service principals",
              .tag = "identity",
              .query = {limit_field(), {.name = "cursor", .max_length = 256}}},
             [&node](auto r, auto responder) { list(node, r, responder); });
  router.add({.method = "GET",
              .pattern = "/v1/services/{id}",
              .capability = "service:read",
              .summary = "One service principal",
              .tag = "identity"},
             [&node](auto r, auto responder) { read(node, r, responder); });
  router.add({.method = "PUT",
              .pattern = "/v1/services/{id}",
              .capability = "service:write",
              .summary = "Make or change a service principal; `active: false` ends its tokens",
              .tag = "identity",
              .request = http::make_schema(
                  "Service", {{.name = "service_id", .max_length = 63},
                              {.name = "description", .max_length = 1000},
                              {.name = "capabilities",
                               .type = FieldType::kArray,
                               .required = true,
                               .description = "What its tokens may hold at most; none: nothing",
                               .max_length = 256,
                               .items = FieldType::kString},
                              {.name = "active", .type = FieldType::kBool}}),
              .idempotent_write = true},
             [&node](auto r, auto responder) { put(node, r, responder); });
}

}  // namespace soma::runtime::api
