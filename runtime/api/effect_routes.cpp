// Pending effects from the host's ledger; an unknown one is settled by a command to its actor.
#include "runtime/api/effect_routes.h"

#include <map>

#include "runtime/api/pages.h"
#include "runtime/api/slowly.h"
#include "runtime/api/views.h"
#include "schemas/base/sha256.h"
#include "soma/v1/effect.pb.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::Responder;

namespace {

json::object effect(const Host::PendingEffect& e) {
  return {{"effect_id", e.effect.effect_id},      {"kind", e.effect.kind},
          {"attempt", e.effect.attempt},          {"state", e.state},
          {"since", views::iso_time(e.since_ms)}, {"actor", to_string(e.actor)}};
}

json::object effect_details(const Host::PendingEffect& e) {
  json::object out = effect(e);
  static constexpr const char* kClasses[] = {"idempotent", "probeable", "at_most_once"};
  out["class"] = kClasses[static_cast<std::size_t>(e.effect.effect_class)];
  const auto time = [](std::int64_t ms) {
    return ms > 0 ? json::value(views::iso_time(ms)) : json::value(nullptr);
  };
  out["not_before"] = time(e.effect.not_before_ms);
  out["deadline"] = time(e.effect.deadline_ms);
  out["request_bytes"] = e.request_bytes;
  out["problem"] = e.effect.unknown.empty() ? json::value(nullptr) : json::value(e.effect.unknown);
  return out;
}

const Error kNotPending{Code::kNotFound,
                        "no effect of this id is pending; a finished one is in its actor's history",
                        {}};

Result<std::optional<Host::PendingEffect>> effect_of(const Node& node, const http::Request& r) {
  auto all = node.host->pending_effects();
  if (!all) return tl::unexpected(all.error());
  for (auto& e : *all)
    if (e.actor.tenant == r.tenant() && e.effect.effect_id == r.param("id")) return std::move(e);
  return std::nullopt;
}

void list(const Node& node, const RequestPtr& r, const Responder& responder) {
  const auto all = node.host->pending_effects();
  if (!all) return responder.fail(all.error());
  std::map<std::string, const Host::PendingEffect*> own;  // the oldest first
  for (const auto& e : *all) {                            // ids are an actor's own
    if (e.actor.tenant != r->tenant()) continue;
    const std::string which = sha256_hex(to_string(e.actor) + "\n" + e.effect.effect_id);
    own[views::iso_time(e.since_ms) + " " + which.substr(0, 32)] = &e;
  }
  responder.send(page_by_key(own, *r, [](const auto* e) { return effect(*e); }));
}

void show(const Node& node, const RequestPtr& r, const Responder& responder) {
  const auto e = effect_of(node, *r);
  if (!e) return responder.fail(e.error());
  if (!*e) return responder.fail(kNotPending);
  responder.send(http::json_response(200, effect_details(**e)));
}

// The decider judges: it alone knows whether the outcome is still unknown.
void settle(const Node& node, const RequestPtr& r, const Responder& responder,
            const ActorKey& actor) {
  const std::string outcome = text_member(r->json, "outcome");
  v1::ResolveEffect decision;
  decision.set_effect_id(r->param("id"));
  decision.set_outcome(outcome == "done"     ? v1::SETTLEMENT_DONE
                       : outcome == "failed" ? v1::SETTLEMENT_FAILED
                                             : v1::SETTLEMENT_RETRY);
  decision.set_reason(text_member(r->json, "reason"));
  const auto* type = node.catalog->find(actor.type);
  const auto command = type ? type->resolve_command(decision) : std::nullopt;
  if (!command)
    return responder.fail(
        {Code::kConflict,
         "effects of " + actor.type + " actors are repeated or reported failed, never unknown",
         {}});
  auto message = type->new_command();
  message->ParseFromString(*command);
  submit(node, r, responder, make_submission(*r, actor, *message, command_id_of(*r)),
         [id = r->param("id"), outcome, actor, by = r->principal.subject()](const Accepted& a) {
           return http::json_response(200, json::object{{"effect_id", id},
                                                        {"actor", to_string(actor)},
                                                        {"outcome", outcome},
                                                        {"resolved_by", by},
                                                        {"sequence", a.sequence.value}});
         });
}

// Of an effect that is not pending any more the journal tells the actor.
std::optional<ActorKey> actor_named_with(const std::string& tenant, const std::string& id,
                                         const events::ValidFrame& frame) {
  for (const auto& e : frame.frame->entries()) {
    if (e.actor().tenant() != tenant) continue;
    for (const auto& event : e.events())
      if (event.payload().find(id) != std::string::npos) return actors::to_key(e.actor());
  }
  return {};
}

void settle_from_journal(const Node& node, const RequestPtr& r, const Responder& responder) {
  const std::string id = r->param("id");
  auto found = node.journal->newest(1, [&](const events::ValidFrame& f) {
    return actor_named_with(r->tenant(), id, f).has_value();
  });
  if (!found) return responder.fail(found.error());
  if (found->empty()) return responder.fail(kNotPending);
  settle(node, r, responder, *actor_named_with(r->tenant(), id, found->front()));
}

void resolve(const Node& node, const RequestPtr& r, const Responder& responder) {
  const auto e = effect_of(node, *r);
  if (!e) return responder.fail(e.error());
  if (!*e) return settle_from_journal(node, r, responder);
  settle(node, r, responder, (*e)->actor);
}

}  // namespace

void register_effects(http::Router& router, const Node& node) {
  router.add({.method = "GET",
              .pattern = "/v1/admin/effects",
              .capability = "admin:read",
              .summary = "Pending and unknown effects of the caller's tenant, the oldest first",
              .tag = "operations",
              .query = page_fields()},
             slowly(node, list));
  router.add({.method = "GET",
              .pattern = "/v1/admin/effects/{id}",
              .capability = "admin:read",
              .summary = "One pending or unknown effect",
              .tag = "operations"},
             slowly(node, show));
  router.add({.method = "POST",
              .pattern = "/v1/admin/effects/{id}/resolve",
              .capability = "effect:resolve",
              .summary = "Settle an unknown outcome: a recorded decision of a person",
              .tag = "operations",
              .request = http::make_schema(
                  "EffectResolution",
                  {{.name = "outcome", .required = true, .one_of = {"done", "failed", "retry"}},
                   {.name = "reason", .required = true, .min_length = 1, .max_length = 1000}}),
              .idempotent_write = true},
             slowly(node, resolve));
}

}  // namespace soma::runtime::api
