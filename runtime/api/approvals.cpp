// Approvals over HTTP: what waits for a second key, and deciding it.
#include "actors/approvals/approvals.h"

#include <algorithm>
#include <boost/json/array.hpp>

#include "actors/session/tools.h"
#include "runtime/api/governed.h"
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

json::object view(const v1::Approval& a) {
  json::object out{{"approval_id", a.approval_id()},
                   {"status", status_of(a)},
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

void with_register(const Node& node, const RequestPtr& r, const Responder& responder,
                   std::function<void(const v1::ApprovalsState&)> next) {
  node.host->read(actors::approvals_key(r->tenant()),
                  [responder, next = std::move(next)](Result<StateView> v) {
                    if (!v) return responder.send(http::problem_retry(v.error(), 1));
                    next(static_cast<const v1::ApprovalsState&>(*v->state));
                  });
}

// Oldest first: what has waited longest is decided first. The cursor is the last one shown.
void list(const Node& node, const RequestPtr& r, const Responder& responder) {
  with_register(node, r, responder, [r, responder](const v1::ApprovalsState& s) {
    const std::string status = r->query_value("status").value_or("");
    std::map<std::pair<std::int64_t, std::string>, const v1::Approval*> sorted;
    for (const auto& [id, a] : s.approvals())
      if (status.empty() || status == status_of(a)) sorted[{a.requested_ms(), id}] = &a;
    auto at = sorted.begin();
    if (const auto cursor = r->query_value("cursor")) {
      auto last = s.approvals().find(*cursor);
      if (last == s.approvals().end())
        return responder.send(
            http::field_error({"query", "cursor"}, "must be one that this list gave", "cursor"));
      at = sorted.upper_bound({last->second.requested_ms(), *cursor});
    }
    const auto limit = static_cast<std::size_t>(r->query_int("limit", kListDefault));
    json::array items;
    json::value next;
    for (; at != sorted.end() && items.size() < limit; ++at) {
      items.push_back(view(*at->second));
      next = at->second->approval_id();
    }
    if (at == sorted.end()) next = nullptr;
    responder.send(
        http::json_response(200, json::object{{"items", std::move(items)}, {"next_cursor", next}}));
  });
}

void read(const Node& node, const RequestPtr& r, const Responder& responder) {
  with_register(node, r, responder, [r, responder](const v1::ApprovalsState& s) {
    auto it = s.approvals().find(r->param("id"));
    if (it == s.approvals().end())
      return responder.fail({Code::kNotFound, "Approval not found", {}});
    responder.send(http::json_response(200, view(it->second)));
  });
}

http::Response shown(const Accepted& a) {
  v1::ApprovalsReply reply;
  reply.ParseFromString(a.reply);
  return http::json_response(200, view(reply.approval()));
}

void submit_decision(const Node& node, const RequestPtr& r, const Responder& responder,
                     bool approve) {
  v1::ApprovalsCommand command;
  auto* d = command.mutable_decide_approval();
  d->set_approval_id(r->param("id"));
  d->set_approve(approve);
  d->set_reason(text_member(r->json, "reason"));
  submit(node, r, responder,
         make_submission(*r, actors::approvals_key(r->tenant()), command, command_id_of(*r)),
         shown);
}

void delegate(const Node& node, const RequestPtr& r, const Responder& responder) {
  v1::ApprovalsCommand command;
  auto* d = command.mutable_delegate_approval();
  d->set_approval_id(r->param("id"));
  d->set_to(text_member(r->json, "to"));
  d->set_reason(text_member(r->json, "reason"));
  submit(node, r, responder,
         make_submission(*r, actors::approvals_key(r->tenant()), command, command_id_of(*r)),
         shown);
}

// Another prompt for the turn that waits: the session closes this approval and asks for another.
void edit(const Node& node, const RequestPtr& r, const Responder& responder) {
  with_register(node, r, responder, [&node, r, responder](const v1::ApprovalsState& s) {
    const auto it = s.approvals().find(r->param("id"));
    if (it == s.approvals().end())
      return responder.fail({Code::kNotFound, "Approval not found", {}});
    const v1::Approval& a = it->second;
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

bool waits_for(const v1::SessionState& session, const std::string& approval_id) {
  if (actors::tool_waits_for(session, approval_id)) return true;
  return std::any_of(session.turns().begin(), session.turns().end(), [&](const v1::Turn& turn) {
    return turn.stage() == v1::AWAITING_APPROVAL && turn.approval_id() == approval_id;
  });
}

// A session that was cancelled withdraws its approval by a message, which may still be under way:
// whoever saw the cancellation acknowledged must not be told that the turn was approved.
void decide(const Node& node, const RequestPtr& r, const Responder& responder, bool approve) {
  with_register(node, r, responder, [&node, r, responder, approve](const v1::ApprovalsState& s) {
    const auto it = s.approvals().find(r->param("id"));
    if (it == s.approvals().end() || it->second.status() != v1::PENDING ||
        it->second.session_id().empty())
      return submit_decision(node, r, responder, approve);
    node.host->read(
        {r->tenant(), "session", it->second.session_id(), {}},
        [&node, r, responder, approve](Result<StateView> v) {
          if (!v) return responder.send(http::problem_retry(v.error(), 1));
          if (waits_for(static_cast<const v1::SessionState&>(*v->state), r->param("id")))
            return submit_decision(node, r, responder, approve);
          responder.fail({Code::kConflict, "the session no longer waits for this approval", {}});
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
