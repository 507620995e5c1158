// Tokens: issued within the caller's own rights, verified, and tickets for browsers.
#include <algorithm>
#include <boost/json/array.hpp>

#include "actors/identity/identity.h"
#include "runtime/api/admission.h"
#include "runtime/api/command_history.h"
#include "runtime/api/submit.h"
#include "runtime/api/views.h"
#include "runtime/security/keys.h"
#include "runtime/security/tickets.h"
#include "soma/v1/identity.pb.h"

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
  const auto invalid = [responder](std::string reason) {
    responder.send(
        http::json_response(200, json::object{{"valid", false}, {"reason", std::move(reason)}}));
  };
  auto identity = node.authenticator->verify_token(text_member(r->json, "token"));
  if (!identity) return invalid(identity.error().message);
  if (identity->principal.tenant() != r->tenant()) return invalid("Invalid token");
  node.admission->check(*node.host, *identity, [=, identity = *identity](Status admitted) {
    if (!admitted) {
      if (admitted.error().code != Code::kUnauthenticated)
        return responder.send(problem_of(admitted.error()));
      return invalid(admitted.error().message == "Invalid token" ? "Token revoked"
                                                                 : admitted.error().message);
    }
    for (const auto& wanted : texts(r->json, "required_capabilities"))
      if (!security::has_capability(identity.principal, wanted))
        return invalid("the capability " + wanted + " is missing");
    responder.send(
        http::json_response(200, json::object{{"valid", true}, {"claims", claims_of(identity)}}));
  });
}

Status within(const std::string& whose, const google::protobuf::RepeatedPtrField<std::string>& own,
              const security::TokenRequest& wanted) {
  v1::Principal holder;
  *holder.mutable_capabilities() = own;
  for (const auto& c : wanted.capabilities)
    if (!security::has_capability(holder, c))
      return fail(Code::kForbidden, whose + " does not have the capability " + c);
  return {};
}

// What a registered user or service may be given; anybody may be given a token who is not
// registered, but no service: the decider refuses that.
Status check_user(const v1::IdentityState& state, const security::TokenRequest& wanted) {
  if (actors::is_service(wanted.subject)) {
    const auto it = state.services().find(wanted.subject.substr(actors::kServicePrefix.size()));
    return it == state.services().end()
               ? Status{}
               : within("service " + wanted.subject, it->second.capabilities(), wanted);
  }
  const auto it = state.users().find(wanted.subject);
  if (it == state.users().end()) return {};
  if (!it->second.active())
    return fail(Code::kForbidden, "user " + wanted.subject + " is deactivated");
  return within("user " + wanted.subject, it->second.capabilities(), wanted);
}

// As it was signed first: the same request under what was recorded of it then. Nothing that was
// signed otherwise is passed off as that token.
Result<security::IssuedToken> signed_again(const Node& node, security::TokenRequest wanted,
                                           const v1::TokenTerms& terms) {
  wanted.issued_s = terms.issued_ms() / 1000;
  wanted.constitution_hash = terms.constitution_hash();
  auto token = node.authenticator->issue_token(wanted);
  if (token && token->key_id != terms.key_id())
    return fail(Code::kConflict,
                "the key that signed this request's token was replaced since; ask for another one "
                "with a new Idempotency-Key");
  return token;
}

// Recorded before it is handed out.
void sign_and_note(const Node& node, const RequestPtr& r, const Responder& responder,
                   const security::TokenRequest& wanted) {
  auto token = node.authenticator->issue_token(wanted);
  if (!token) return responder.fail(token.error());
  v1::IdentityCommand command;
  auto* note = command.mutable_note_token();
  note->set_token_id(token->token_id);
  note->set_subject(wanted.subject);
  for (const auto& c : wanted.capabilities) note->add_capabilities(c);
  note->set_expires_ms(token->expires_s * 1000);
  auto* terms = note->mutable_terms();
  terms->set_key_id(token->key_id);
  terms->set_issued_ms(token->issued_s * 1000);
  terms->set_constitution_hash(wanted.constitution_hash);
  node.host->submit(
      make_submission(*r, actors::identity_key(r->tenant()), command, command_id_of(*r)),
      [&node, responder, wanted, token = *token](Result<Accepted> a) mutable {
        if (!a) return responder.send(problem_of(a.error()));
        v1::IdentityReply reply;
        reply.ParseFromString(a->reply);
        if (a->replayed && reply.has_terms()) {
          auto first = signed_again(node, wanted, reply.terms());
          if (!first) return responder.fail(first.error());
          token = std::move(*first);
        }
        auto response = http::json_response(
            200, json::object{{"token", token.token},
                              {"expires_at", views::iso_time(token.expires_s * 1000)},
                              {"jti", token.token_id}});
        add_write_headers(response, *a);
        responder.send(std::move(response));
      });
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
  // What was signed first can be told no longer, and another token of its id would outlive it.
  if (r->replayed && r->key_claimed_ms != 0 &&
      node.clock->now_ms() - r->key_claimed_ms >= kCommandsKnownMs)
    return responder.fail({Code::kConflict,
                           "the token of this Idempotency-Key was asked for more than a day ago; "
                           "ask for another one with a new key",
                           {}});
  if (const auto* ttl = r->json.get_object().if_contains("ttl"); ttl && ttl->is_int64())
    wanted.ttl_s = ttl->get_int64();
  // A retry with the same key gets the same token.
  if (!r->idempotency_key.empty()) wanted.token_id = created_id("tok", *r, command_id_of(*r));
  node.host->read(
      actors::identity_key(r->tenant()),
      [&node, r, responder, wanted = std::move(wanted)](Result<StateView> v) mutable {
        if (!v) return responder.send(problem_of(v.error()));
        if (auto ok = check_user(static_cast<const v1::IdentityState&>(*v->state), wanted); !ok)
          return responder.fail(ok.error());
        node.constitutions->in_force(
            *node.host, r->tenant(),
            [&node, r, responder, wanted = std::move(wanted)](auto found) mutable {
              if (!found) return responder.send(problem_of(found.error()));
              if (*found) wanted.constitution_hash = (*found)->constitution->hash();
              sign_and_note(node, r, responder, wanted);
            });
      });
}

// By the token itself or by its id. Another tenant's token is no valid one.
void revoke(const Node& node, const RequestPtr& r, const Responder& responder) {
  const std::string token = text_member(r->json, "token");
  v1::IdentityCommand command;
  auto* c = command.mutable_revoke_token();
  c->set_token_id(text_member(r->json, "jti"));
  if (token.empty() == c->token_id().empty())
    return responder.send(
        http::field_error({"body", "token"}, "give either token or jti", "one_of"));
  if (!token.empty()) {
    auto identity = node.authenticator->verify_token(token);
    if (!identity && identity.error().message == "Token expired")
      return responder.send(http::json_response(
          200, json::object{{"revoked", true}, {"jti", nullptr}, {"reason", "Token expired"}}));
    if (!identity || identity->principal.tenant() != r->tenant())
      return responder.send(
          http::field_error({"body", "token"}, "is no valid token of this tenant", "invalid"));
    c->set_token_id(identity->token_id);
    c->set_expires_ms(identity->expires_s * 1000);
  }
  submit(node, r, responder,
         make_submission(*r, actors::identity_key(r->tenant()), command, command_id_of(*r)),
         [](const Accepted& a) {
           v1::IdentityReply reply;
           reply.ParseFromString(a.reply);
           return http::json_response(
               200, json::object{{"revoked", true},
                                 {"jti", reply.revoked().token_id()},
                                 {"revoked_at", views::iso_time(reply.revoked().revoked_ms())},
                                 {"revoked_by", reply.revoked().revoked_by()}});
         });
}

// Recorded first: no key signs that auditors have not been told of.
void rotate(const Node& node, const RequestPtr& r, const Responder& responder) {
  auto next = node.authenticator->new_key();
  if (!next) return responder.fail(next.error());
  const auto* flag = r->json.get_object().if_contains("at_once");
  const bool at_once = flag && flag->is_bool() && flag->get_bool();
  v1::IdentityCommand command;
  auto* note = command.mutable_note_key_rotation();
  note->set_key_id(next->id);
  note->set_retired_key_id(node.authenticator->signing_key_id());
  note->set_at_once(at_once);
  // An id of its own: a retry makes another key, and that one must be told of too.
  node.host->submit(make_submission(*r, actors::identity_key(r->tenant()), command,
                                    internal_command_id(r->tenant())),
                    [&node, responder, at_once, next = std::move(*next)](Result<Accepted> a) {
                      if (!a) return responder.send(problem_of(a.error()));
                      node.worker->post([&node, responder, at_once, next, accepted = *a] {
                        const std::string before = node.authenticator->signing_key_id();
                        if (auto done = node.authenticator->rotate(next, at_once); !done)
                          return responder.fail({Code::kUnavailable, done.error().message, {}});
                        auto response =
                            http::json_response(200, json::object{{"key_id", next.id},
                                                                  {"retired_key_id", before},
                                                                  {"retired_verifies", !at_once}});
                        add_write_headers(response, accepted);
                        responder.send(std::move(response));
                      });
                    });
}

// A retry gets the same ticket while that is remembered, and never a second one.
void ticket(const Node& node, const RequestPtr& r, const Responder& responder) {
  const std::string request = r->idempotency_key.empty() ? std::string() : command_id_of(*r);
  std::optional<std::string> text;
  if (r->replayed)
    text = node.tickets->again(r->identity, request);
  else
    text = node.tickets->issue(r->identity, request);
  if (!text)
    return responder.fail({Code::kConflict,
                           "the ticket of this Idempotency-Key is over, or another caller's; ask "
                           "for one with a new key",
                           {}});
  auto response = http::json_response(
      200, json::object{{"ticket", *text}, {"expires_in", security::Tickets::kLifeMs / 1000}});
  if (r->replayed) response.header("Idempotent-Replayed", "true");
  responder.send(std::move(response));
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
              .pattern = "/v1/tokens/revoke",
              .capability = "token:revoke",
              .summary = "End a token of this tenant, at once and for good",
              .tag = "identity",
              .request = http::make_schema("TokenRevoke", {{.name = "token", .max_length = 16384},
                                                           {.name = "jti", .max_length = 256}}),
              .idempotent_write = true},
             [&node](auto r, auto responder) { revoke(node, r, responder); });
  router.add(
      {.method = "POST",
       .pattern = "/v1/tokens/rotate",
       .capability = "token:rotate",
       .summary = "Sign with a new key; tokens of the old one end by themselves, or at once",
       .tag = "identity",
       .request = http::make_schema("KeyRotation", {{.name = "at_once", .type = FieldType::kBool}}),
       .idempotent_write = true},
      [&node](auto r, auto responder) { rotate(node, r, responder); });
  router.add({.method = "POST",
              .pattern = "/v1/tokens/ticket",
              .capability = "session:read",
              .summary = "A ticket that opens one socket or event stream within 30 s",
              .tag = "identity",
              .idempotent_write = true,
              .secret_answer = true},
             [&node](auto r, auto responder) { ticket(node, r, responder); });
}

}  // namespace soma::runtime::api
