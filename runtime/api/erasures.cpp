// Erasing a person's data, and what was certified of it.
#include "runtime/erasure/erasures.h"

#include <boost/json.hpp>

#include "actors/erasure/erasure.h"
#include "runtime/api/pages.h"
#include "runtime/security/authenticator.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::Responder;

namespace {

constexpr std::size_t kMaxSubject = 256, kMaxReason = 1000;

// False, and answered, when the tenant is another one.
bool own(const RequestPtr& r, const Responder& responder) {
  if (r->param("id") == r->tenant()) return true;
  responder.fail({Code::kNotFound, "Tenant not found", {}});
  return false;
}

void begin(const Node& node, const RequestPtr& r, const Responder& responder,
           const std::string& subject) {
  node.worker->post([&node, r, responder, subject] {
    auto id = node.erasures->begin(r->principal, subject, text_member(r->json, "reason"));
    if (!id) return responder.send(problem_of(id.error()));
    responder.send(
        http::json_response(202, json::object{{"erasure_id", *id}, {"status", "running"}}));
  });
}

// The node keeps whom it is about; the log only a hash of that.
void ask_second_key(const Node& node, const RequestPtr& r, const Responder& responder,
                    const std::string& subject) {
  node.worker->post([&node, r, responder, subject] {
    const std::string command_id = command_id_of(*r);
    const std::string id = created_id("era", *r, command_id);
    const std::string reason = text_member(r->json, "reason");
    auto hash = node.erasures->wait(id, r->principal, subject, reason);
    if (!hash) return responder.send(problem_of(hash.error()));
    v1::ErasureCommand command;
    command.mutable_request_erasure()->set_erasure_id(id);
    command.mutable_request_erasure()->set_subject_hash(*hash);
    command.mutable_request_erasure()->set_reason(reason);
    node.host->submit(make_submission(*r, actors::erasure_key(r->tenant()), command, command_id),
                      [&node, responder, id](Result<Accepted> a) {
                        if (!a) {
                          if (code_disposition(a.error().code) == Disposition::kReply)
                            node.erasures->forget(id);
                          return responder.send(problem_of(a.error()));
                        }
                        v1::ErasureReply reply;
                        reply.ParseFromString(a->reply);
                        auto response = http::json_response(
                            202, json::object{{"erasure_id", id},
                                              {"status", "pending_approval"},
                                              {"approval_id", reply.approval_id()}});
                        add_write_headers(response, *a);
                        responder.send(std::move(response));
                      });
  });
}

void erase(const Node& node, const RequestPtr& r, const Responder& responder) {
  if (!own(r, responder)) return;
  const std::string subject = text_member(r->json, "subject");
  if (subject == "soma" || subject.starts_with('$') || subject.starts_with("erased-"))
    return responder.fail({Code::kInvalidArgument, "this names no person", "body.subject"});
  if (!node.erasures->two_keys()) return begin(node, r, responder, subject);
  with_settings(node, r, responder, [&node, r, responder, subject](const auto& settings) {
    security::is_production_mode(settings.deployment_mode())
        ? ask_second_key(node, r, responder, subject)
        : begin(node, r, responder, subject);
  });
}

void list(const Node& node, const RequestPtr& r, const Responder& responder,
          const std::string& wanted) {
  if (!own(r, responder)) return;
  node.slow->post([&node, r, responder, wanted] {
    auto all = node.erasures->of(r->tenant());
    if (!all) return responder.send(problem_of(all.error()));
    if (wanted.empty()) {
      json::array items(all->begin(), all->end());
      return responder.send(page_of(*r, std::move(items), "erasure_id"));
    }
    for (auto& one : *all)
      if (one.at("erasure_id").as_string() == wanted)
        return responder.send(http::json_response(200, std::move(one)));
    responder.fail({Code::kNotFound, "Erasure not found", {}});
  });
}

}  // namespace

void register_erasures(http::Router& router, const Node& node) {
  router.add(
      {.method = "POST",
       .pattern = "/v1/tenants/{id}/erase-subject",
       .capability = "privacy:erase",
       .summary = "Destroy the key of a person's data; it cannot be undone, and may wait for a "
                  "second person",
       .tag = "privacy",
       .request = http::make_schema(
           "EraseSubject",
           {{.name = "subject", .required = true, .min_length = 1, .max_length = kMaxSubject},
            {.name = "reason",
             .description = "Kept in the log and the certificate: name nobody in it",
             .max_length = kMaxReason}}),
       .responses = {{.status = 202}},
       .idempotent_write = true},
      [&node](auto r, auto responder) { erase(node, r, responder); });
  router.add({.method = "GET",
              .pattern = "/v1/tenants/{id}/erasures",
              .capability = "privacy:read",
              .summary = "Certificates of erasures, the newest first, and those under way",
              .tag = "privacy",
              .query = page_fields()},
             [&node](auto r, auto responder) { list(node, r, responder, {}); });
  router.add({.method = "GET",
              .pattern = "/v1/tenants/{id}/erasures/{erasure_id}",
              .capability = "privacy:read",
              .summary = "One erasure: how it stands, or its certificate",
              .tag = "privacy"},
             [&node](auto r, auto responder) {
               list(node, r, responder, std::string(r->param("erasure_id")));
             });
}

}  // namespace soma::runtime::api
