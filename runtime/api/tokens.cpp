// Tokens: issued within the caller's own rights, verified, and tickets for browsers.
#include <boost/json/array.hpp>

#include "runtime/api/submit.h"
#include "runtime/api/views.h"
#include "runtime/security/tickets.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::FieldType;
using http::Responder;

namespace {

std::vector<std::string> texts(const json::value& body, std::string_view name) {
  std::vector<std::string> out;
  if (const auto* list = body.get_object().if_contains(name); list && list->is_array())
    for (const auto& v : list->get_array())
      if (v.is_string()) out.emplace_back(v.get_string());
  return out;
}

json::object claims_of(const security::Identity& identity) {
  json::array capabilities;
  for (const auto& c : identity.principal.capabilities()) capabilities.emplace_back(c);
  json::object out{{"sub", identity.principal.subject()},
                   {"tenant_id", identity.principal.tenant()},
                   {"capabilities", std::move(capabilities)},
                   {"iat", identity.issued_s},
                   {"exp", identity.expires_s},
                   {"jti", identity.token_id}};
  if (!identity.constitution_hash.empty()) out["constitution_hash"] = identity.constitution_hash;
  return out;
}

// A token of another tenant reads as an invalid one.
void verify(const Node& node, const RequestPtr& r, const Responder& responder) {
  const auto invalid = [&](std::string reason) {
    responder.send(
        http::json_response(200, json::object{{"valid", false}, {"reason", std::move(reason)}}));
  };
  auto identity = node.authenticator->verify_token(text_member(r->json, "token"));
  if (!identity) return invalid(identity.error().message);
  if (identity->principal.tenant() != r->tenant()) return invalid("Invalid token");
  for (const auto& wanted : texts(r->json, "required_capabilities"))
    if (!security::has_capability(identity->principal, wanted))
      return invalid("the capability " + wanted + " is missing");
  responder.send(
      http::json_response(200, json::object{{"valid", true}, {"claims", claims_of(*identity)}}));
}

void issue(const Node& node, const RequestPtr& r, const Responder& responder) {
  security::TokenRequest wanted;
  wanted.subject = text_member(r->json, "user_id");
  wanted.tenant = text_member(r->json, "tenant_id");
  if (wanted.tenant.empty()) wanted.tenant = r->tenant();
  if (wanted.tenant != r->tenant())
    return responder.fail(
        {Code::kForbidden, "tenant_id must be the tenant of the caller's token", {}});
  wanted.capabilities = texts(r->json, "capabilities");
  for (const auto& c : wanted.capabilities)
    if (!security::has_capability(r->principal, c))
      return responder.fail({Code::kForbidden,
                             "nobody can give away the capability " + c + " without having it",
                             {}});
  if (const auto* ttl = r->json.get_object().if_contains("ttl"); ttl && ttl->is_int64())
    wanted.ttl_s = ttl->get_int64();
  auto token = node.authenticator->issue_token(wanted);
  if (!token) return responder.fail(token.error());
  responder.send(http::json_response(
      200, json::object{{"token", token->token},
                        {"expires_at", views::iso_time(token->expires_s * 1000)},
                        {"jti", token->token_id}}));
}

}  // namespace

void register_tokens(http::Router& router, const Node& node) {
  const http::Field capabilities{.name = "capabilities",
                                 .type = FieldType::kArray,
                                 .required = true,
                                 .min_length = 1,
                                 .max_length = 100,
                                 .items = FieldType::kString};
  http::Field required = capabilities;
  required.name = "required_capabilities";
  required.required = false;
  router.add(
      {.method = "POST",
       .pattern = "/v1/tokens/issue",
       .capability = "token:issue",
       .summary = "Sign a token with no more rights than the caller's",
       .tag = "identity",
       .request = http::make_schema(
           "TokenIssue", {{.name = "user_id", .required = true, .min_length = 1, .max_length = 256},
                          {.name = "tenant_id", .max_length = 256},
                          capabilities,
                          {.name = "ttl",
                           .type = FieldType::kInt,
                           .description = "Seconds",
                           .min = 1,
                           .max = security::kMaxTtlSeconds}}),
       .idempotent_write = true,
       .secret_answer = true},
      [&node](auto r, auto responder) { issue(node, r, responder); });
  router.add({.method = "POST",
              .pattern = "/v1/tokens/verify",
              .capability = "token:verify",
              .summary = "Is a token of this tenant valid",
              .tag = "identity",
              .request = http::make_schema(
                  "TokenVerify", {{.name = "token", .required = true, .min_length = 1}, required}),
              .idempotent_write = true},
             [&node](auto r, auto responder) { verify(node, r, responder); });
  router.add({.method = "POST",
              .pattern = "/v1/tokens/ticket",
              .capability = "session:read",
              .summary = "A ticket that opens one socket or event stream within 30 s",
              .tag = "identity",
              .idempotent_write = true,
              .secret_answer = true},
             [&node](auto r, auto responder) {
               responder.send(http::json_response(
                   200, json::object{{"ticket", node.tickets->issue(r->identity)},
                                     {"expires_in", security::Tickets::kLifeMs / 1000}}));
             });
}

}  // namespace soma::runtime::api
