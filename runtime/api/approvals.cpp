// Approvals over HTTP: what waits for a second key, and deciding it.
#include "actors/approvals/approvals.h"

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>

#include "actors/constitution/constitution.h"
#include "actors/identity/identity.h"
#include "actors/session/tools.h"
#include "runtime/api/governed.h"
#include "runtime/api/kill_switch.h"
#include "runtime/api/views.h"
#include "soma/v1/session.pb.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::Responder;

namespace {

constexpr std::int64_t kListDefault = 50;

std::string status_of(const v1::Approval& a) {
  switch (a.status()) {
    case v1::APPROVED:
      return "approved";
    case v1::REJECTED:
      return "rejected";
    case v1::EXPIRED:
      return "expired";
    default:
      return "pending";
  }
}

// What of all tenants waits for a second key, and who may see and decide it: whoever could have
// asked.
constexpr std::array<std::pair<const char*, const char*>, 3> kGlobalActions = {
    {{"constitution.load", "constitution:load_global"},
     {"policy.rules", "policy:write_global"},
     {"settings.mode", "settings:mode"}}};

bool decides_of_all(const http::Request& r) {
  return std::ranges::any_of(kGlobalActions, [&](const auto& known) {
    return security::has_capability(r.principal, known.second);
  });
}

bool decides_of_all(const http::Request& r, const v1::Approval& a) {
  return std::ranges::any_of(kGlobalActions, [&](const auto& known) {
    return a.action() == known.first && security::has_capability(r.principal, known.second);
  });
}

// The registers that a caller may look into: its tenant's, and what it may decide of that of all.
class Registers {
 public:
  Registers(RequestPtr r, StateView own, std::optional<StateView> of_all)
      : r_(std::move(r)), own_(std::move(own)), of_all_(std::move(of_all)) {}

  struct Found {
    const v1::Approval* approval = nullptr;  // null: nowhere
    ActorKey where;                          // its register
    bool global = false;
  };
  Found find(const std::string& id) const {
    const auto& own = state(own_).approvals();
    if (const auto it = own.find(id); it != own.end())
      return {&it->second, actors::approvals_key(r_->tenant()), false};
    if (!of_all_) return {};
    const auto& all = state(*of_all_).approvals();
    const auto it = all.find(id);
    if (it == all.end() || !decides_of_all(*r_, it->second)) return {};
    return {&it->second, actors::approvals_key(actors::kGlobalTenant), true};
  }
  void each(const std::function<void(const v1::Approval&, bool global)>& see) const {
    for (const auto& [id, a] : state(own_).approvals()) see(a, false);
    if (!of_all_) return;
    for (const auto& [id, a] : state(*of_all_).approvals())
      if (decides_of_all(*r_, a)) see(a, true);
  }

 private:
  static const v1::ApprovalsState& state(const StateView& view) {
    return static_cast<const v1::ApprovalsState&>(*view.state);
  }
  RequestPtr r_;
  StateView own_;
  std::optional<StateView> of_all_;
};

json::object view(const v1::Approval& a, bool global) {
  json::object out{{"approval_id", a.approval_id()},
                   {"status", status_of(a)},
                   {"scope", global ? "global" : "tenant"},
                   {"action", a.action()},
                   {"action_hash", a.action_hash()},
                   {"summary", a.summary()},
                   {"requested_by", a.requested_by()},
                   {"requested_at", views::iso_time(a.requested_ms())},
                   {"expires_at", views::iso_time(a.expires_ms())}};
  if (!a.session_id().empty()) out["session_id"] = a.session_id();
  if (!a.decided_by().empty()) {
    out["decided_by"] = a.decided_by();
    out["decided_at"] = views::iso_time(a.decided_ms());
  }
  if (!a.reason().empty()) out["reason"] = a.reason();
  if (!a.delegated_to().empty()) {
    out["delegated_to"] = a.delegated_to();
    out["delegated_by"] = a.delegated_by();
  }
  if (!a.replaces().empty()) out["replaces"] = a.replaces();
  if (!a.replaced_by().empty()) out["replaced_by"] = a.replaced_by();
  if (a.has_error()) out["error"] = views::failure(a.error());
  return out;
}

void with_registers(const Node& node, const RequestPtr& r, const Responder& responder,
                    std::function<void(const Registers&)> next) {
  node.host->read(actors::approvals_key(r->tenant()), [&node, r, responder, next = std::move(next)](
                                                          Result<StateView> own) {
    if (!own) return responder.send(http::problem_retry(own.error(), 1));
    if (!decides_of_all(*r)) return next(Registers(r, std::move(*own), {}));
    node.host->read(actors::approvals_key(actors::kGlobalTenant),
                    [r, responder, next, own = std::move(*own)](Result<StateView> all) {
                      if (!all) return responder.send(http::problem_retry(all.error(), 1));
                      next(Registers(r, own, std::move(*all)));
                    });
  });
}

// The approval with the request's id; 404 where there is none that the caller may see.
void with_approval(const Node& node, const RequestPtr& r, const Responder& responder,
                   std::function<void(const Registers::Found&)> next) {
  with_registers(node, r, responder,
                 [r, responder, next = std::move(next)](const Registers& registers) {
                   const auto found = registers.find(r->param("id"));
                   if (!found.approval)
                     return responder.fail({Code::kNotFound, "Approval not found", {}});
                   next(found);
                 });
}

// Oldest first: what has waited longest is decided first. The cursor is the last one shown.
void list(const Node& node, const RequestPtr& r, const Responder& responder) {
  with_registers(node, r, responder, [r, responder](const Registers& registers) {
    const std::string status = r->query_value("status").value_or("");
    std::map<std::pair<std::int64_t, std::string>, std::pair<const v1::Approval*, bool>> sorted;
    registers.each([&](const v1::Approval& a, bool global) {
      if (status.empty() || status == status_of(a))
        sorted[{a.requested_ms(), a.approval_id()}] = {&a, global};
    });
    auto at = sorted.begin();
    if (const auto cursor = r->query_value("cursor")) {
      const auto last = registers.find(*cursor);
      if (!last.approval)
        return responder.send(
            http::field_error({"query", "cursor"}, "must be one that this list gave", "cursor"));
      at = sorted.upper_bound({last.approval->requested_ms(), *cursor});
    }
    const auto limit = static_cast<std::size_t>(r->query_int("limit", kListDefault));
    json::array items;
    json::value next;
    for (; at != sorted.end() && items.size() < limit; ++at) {
      items.push_back(view(*at->second.first, at->second.second));
      next = at->second.first->approval_id();
    }
    if (at == sorted.end()) next = nullptr;
    responder.send(
        http::json_response(200, json::object{{"items", std::move(items)}, {"next_cursor", next}}));
  });
}

void read(const Node& node, const RequestPtr& r, const Responder& responder) {
  with_approval(node, r, responder, [responder](const Registers::Found& found) {
    responder.send(http::json_response(200, view(*found.approval, found.global)));
  });
}

void submit_to(const Node& node, const RequestPtr& r, const Responder& responder,
               const Registers::Found& found, const v1::ApprovalsCommand& command) {
  submit(node, r, responder, make_submission(*r, found.where, command, command_id_of(*r)),
         [global = found.global](const Accepted& a) {
           v1::ApprovalsReply reply;
           reply.ParseFromString(a.reply);
           return http::json_response(200, view(reply.approval(), global));
         });
}

void submit_decision(const Node& node, const RequestPtr& r, const Responder& responder,
                     const Registers::Found& found, bool approve,
                     const v1::StartTerms* terms = nullptr) {
  v1::ApprovalsCommand command;
  auto* d = command.mutable_decide_approval();
  d->set_approval_id(r->param("id"));
  d->set_approve(approve);
  d->set_reason(text_member(r->json, "reason"));
  if (terms) *d->mutable_terms() = *terms;
  submit_to(node, r, responder, found, command);
}

// Who asked and is out by now has nothing started any more.
Status still_in(const v1::IdentityState& s, const std::string& asker) {
  const auto out = [&](const char* why) {
    return fail(Code::kForbidden, asker + ", who asked for it, is " + why + "; reject it");
  };
  if (actors::is_service(asker)) {
    const auto it = s.services().find(asker.substr(actors::kServicePrefix.size()));
    return it == s.services().end() || !it->second.active() ? out("no active service") : Status{};
  }
  const auto it = s.users().find(asker);
  return it != s.users().end() && !it->second.active() ? out("deactivated") : Status{};
}

// What was approved is judged again by its session, under what is in force now; where no
// constitution is, nothing is approved. A turn with tools needs every rule, for their calls.
void submit_start(const Node& node, const RequestPtr& r, const Responder& responder,
                  const Registers::Found& found, const std::string& asker, bool tools) {
  with_governance(node, r, "", responder, [&node, r, responder, found, asker, tools](Governance g) {
    v1::StartTerms terms;
    *terms.mutable_settings() = std::move(g.settings);
    *terms.mutable_constitution() = std::move(g.constitution);
    *terms.mutable_rules() = tools ? all_rules(g.rules) : rules_for(g.rules, "session.turn");
    terms.set_halted(node.kill_switch->active());
    node.host->read(actors::identity_key(r->tenant()), [&node, r, responder, found, asker,
                                                        terms](Result<StateView> v) {
      if (!v) return responder.send(problem_of(v.error()));
      const auto in = still_in(static_cast<const v1::IdentityState&>(*v->state), asker);
      if (!in) return responder.fail(in.error());
      submit_decision(node, r, responder, found, true, &terms);
    });
  });
}

void delegate(const Node& node, const RequestPtr& r, const Responder& responder) {
  with_approval(node, r, responder, [&node, r, responder](const Registers::Found& found) {
    v1::ApprovalsCommand command;
    auto* d = command.mutable_delegate_approval();
    d->set_approval_id(r->param("id"));
    d->set_to(text_member(r->json, "to"));
    d->set_reason(text_member(r->json, "reason"));
    submit_to(node, r, responder, found, command);
  });
}

// Another prompt for the turn that waits: the session closes this approval and asks for another.
void edit(const Node& node, const RequestPtr& r, const Responder& responder) {
  with_approval(node, r, responder, [&node, r, responder](const Registers::Found& found) {
    const v1::Approval& a = *found.approval;
    if (a.status() != v1::PENDING)
      return responder.fail({Code::kConflict, "the approval is already " + status_of(a), {}});
    if (!a.delegated_to().empty() && a.delegated_to() != r->principal.subject())
      return responder.fail(
          {Code::kForbidden,
           "the approval was delegated to " + a.delegated_to() + ", who alone may decide or edit",
           {}});
    if (a.session_id().empty())
      return responder.fail({Code::kConflict,
                             "only a session's turn can be edited; reject this and load another",
                             {}});
    const ActorKey session{r->tenant(), "session", a.session_id(), {}};
    with_governance(node, r, "", responder, [&node, r, responder, session](Governance g) {
      v1::SessionCommand command;
      auto* e = command.mutable_edit_turn();
      e->set_approval_id(r->param("id"));
      e->set_content(text_member(r->json, "content"));
      *e->mutable_settings() = std::move(g.settings);
      *e->mutable_constitution() = std::move(g.constitution);
      *e->mutable_rules() = rules_for(g.rules, "session.turn");
      submit(node, r, responder, make_submission(*r, session, command, command_id_of(*r)),
             [r](const Accepted& accepted) {
               v1::SessionReply reply;
               reply.ParseFromString(accepted.reply);
               json::object out{{"session_id", reply.session_id()},
                                {"status", views::session_status(reply.status())},
                                {"turn", reply.turn()},
                                {"replaces", r->param("id")}};
               out["approval_id"] = reply.approval_id().empty() ? json::value(nullptr)
                                                                : json::value(reply.approval_id());
               return http::json_response(200, out);
             });
    });
  });
}

// The session's turn that waits for it, itself or one of its calls; null: none.
const v1::Turn* waiting_turn(const v1::SessionState& session, const std::string& approval_id) {
  if (actors::tool_waits_for(session, approval_id)) return &*session.turns().rbegin();
  const auto it =
      std::find_if(session.turns().begin(), session.turns().end(), [&](const v1::Turn& turn) {
        return turn.stage() == v1::AWAITING_APPROVAL && turn.approval_id() == approval_id;
      });
  return it == session.turns().end() ? nullptr : &*it;
}

// A session that was cancelled withdraws its approval by a message, which may still be under way:
// whoever saw the cancellation acknowledged must not be told that the turn was approved.
void decide(const Node& node, const RequestPtr& r, const Responder& responder, bool approve) {
  with_approval(node, r, responder, [&node, r, responder, approve](const Registers::Found& found) {
    if (found.approval->status() != v1::PENDING || found.approval->session_id().empty())
      return submit_decision(node, r, responder, found, approve);
    const ActorKey session{r->tenant(), "session", found.approval->session_id(), {}};
    Registers::Found place{nullptr, found.where, found.global};
    const std::string asker = found.approval->requested_by();
    node.host->read(session, [&node, r, responder, approve, place, asker](Result<StateView> v) {
      if (!v) return responder.send(http::problem_retry(v.error(), 1));
      const auto* turn =
          waiting_turn(static_cast<const v1::SessionState&>(*v->state), r->param("id"));
      if (!turn)
        return responder.fail(
            {Code::kConflict, "the session no longer waits for this approval", {}});
      if (approve) return submit_start(node, r, responder, place, asker, turn->has_tools());
      submit_decision(node, r, responder, place, false);
    });
  });
}

}  // namespace

void register_approvals(http::Router& router, const Node& node) {
  const auto reason =
      http::make_schema("ApprovalDecision", {{.name = "reason", .max_length = 1000}});
  router.add(
      {.method = "GET",
       .pattern = "/v1/approvals",
       .capability = "approval:read",
       .summary = "What waits for a second key, and what was decided",
       .tag = "approvals",
       .query = {{.name = "status", .one_of = {"pending", "approved", "rejected", "expired"}},
                 {.name = "limit", .type = http::FieldType::kInt, .min = 1, .max = 200},
                 {.name = "cursor"}}},
      [&node](auto r, auto responder) { list(node, r, responder); });
  router.add({.method = "GET",
              .pattern = "/v1/approvals/{id}",
              .capability = "approval:read",
              .summary = "One approval",
              .tag = "approvals"},
             [&node](auto r, auto responder) { read(node, r, responder); });
  router.add({.method = "POST",
              .pattern = "/v1/approvals/{id}/delegate",
              .capability = "approval:decide",
              .summary = "Name the person who alone may decide it",
              .tag = "approvals",
              .request = http::make_schema(
                  "ApprovalDelegation",
                  {{.name = "to", .required = true, .min_length = 1, .max_length = 256},
                   {.name = "reason", .max_length = 1000}}),
              .idempotent_write = true},
             [&node](auto r, auto responder) { delegate(node, r, responder); });
  router.add(
      {.method = "POST",
       .pattern = "/v1/approvals/{id}/edit",
       .capability = "approval:decide",
       .summary = "Another prompt for the turn that waits: a new action under a new approval",
       .tag = "approvals",
       .request = http::make_schema(
           "ApprovalEdit",
           {{.name = "content", .required = true, .min_length = 1, .max_length = 65536}}),
       .idempotent_write = true},
      [&node](auto r, auto responder) { edit(node, r, responder); });
  for (const bool approve : {true, false})
    router.add({.method = "POST",
                .pattern = std::string("/v1/approvals/{id}/") + (approve ? "approve" : "reject"),
                .capability = "approval:decide",
                .summary = approve ? "Approve exactly this action" : "Reject it",
                .tag = "approvals",
                .request = reason,
                .idempotent_write = true},
               [&node, approve](auto r, auto responder) { decide(node, r, responder, approve); });
}

}  // namespace soma::runtime::api
