// A tenant's service principals: programs that act by themselves, under a subject of their own.
#include "runtime/api/principals.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::FieldType;
using http::Responder;

namespace {

json::object view(const v1::Service& s) {
  return {{"service_id", s.service_id()},
          {"subject", std::string(actors::kServicePrefix) + s.service_id()},
          {"description", s.description()},
          {"capabilities", views::strings(s.capabilities())},
          {"active", s.active()},
          {"version", s.version()},
          {"hash", s.hash()},
          {"updated_at", views::iso_time(s.updated_ms())},
          {"updated_by", s.updated_by()}};
}

http::Response shown(const v1::Service& s) { return with_tag(s, view(s)); }

void list(const Node& node, const RequestPtr& r, const Responder& responder) {
  with_identity(node, r, responder, [r, responder](const v1::IdentityState& s) {
    responder.send(page_by_id(s.services(), *r, view));
  });
}

void read(const Node& node, const RequestPtr& r, const Responder& responder) {
  with_identity(node, r, responder, [r, responder](const v1::IdentityState& s) {
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
