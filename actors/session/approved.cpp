// Judged twice: when it was asked for, and when it is to start.
#include "actors/session/approved.h"

#include "actors/actor_type.h"
#include "actors/approvals/approvals.h"
#include "actors/session/prompt.h"
#include "actors/session/tools.h"
#include "actors/session/turn.h"

namespace soma::actors {

using Decided = SessionDecider::Decided;

namespace {

// Turns that were parked before principals were kept are judged in their requester's name, with no
// capabilities.
v1::Principal asker_of(const ActorKey& self, const v1::Turn& t) {
  if (t.has_principal()) return t.principal();
  v1::Principal p;
  p.set_subject(t.requested_by());
  p.set_tenant(self.tenant);
  return p;
}

}  // namespace

v1::Failure refusal(const v1::StartTerms& terms, const Result<v1::PolicyDecision>& decision,
                    const char* what) {
  if (terms.halted())
    return failure("kill_switch_active", std::string("Gateway kill-switch active; approve the ") +
                                             what + " again when it is off");
  if (!terms.asker_out().empty()) return failure("asker_not_admitted", terms.asker_out());
  if (!decision) return failure("policy_error", decision.error().message);
  if (decision->denied() || !(decision->allow() || decision->needs_approval()))
    return denial(*decision, what);
  return {};
}

void record_decision(Decided& d, const v1::Turn& t, const v1::PolicyDecision& decision,
                     const std::string& call_id) {
  auto* decided = d.events.emplace_back().mutable_policy_decided();
  decided->set_turn(t.turn());
  *decided->mutable_decision() = decision;
  decided->set_tool_call_id(call_id);
}

bool approved_turn_may_start(Decided& d, const ActorKey& self, const v1::SessionState& s,
                             const v1::Turn& t, const v1::StartTerms& terms,
                             const v1::Context& context) {
  const std::int64_t tokens = estimate_tokens(s, t.prompt(), max_tokens_of(s)) + tool_tokens(t);
  v1::Context asked = context;
  *asked.mutable_principal() = asker_of(self, t);
  const auto decision = judge_turn(t.decision().input(), tokens, terms.settings(),
                                   terms.constitution(), terms.rules(), self, s, asked);
  if (decision) record_decision(d, t, *decision);
  const v1::Failure why = refusal(terms, decision, "turn");
  if (why.code().empty()) return true;
  reopen_turn(d, self, s, t, why, context);
  return false;
}

bool approved_call_may_start(Decided& d, const ActorKey& self, const v1::SessionState& s,
                             const v1::Turn& t, const v1::ToolCall& call,
                             const v1::StartTerms& terms, const v1::Context& context) {
  const v1::PolicyDecision decision = judge_call_again(self, s, t, call, terms, context);
  record_decision(d, t, decision, call.call_id());
  const v1::Failure why = refusal(terms, decision, "call");
  if (why.code().empty()) return true;
  reopen_approval(d, self, call.approval_id(), call.action_hash(), why);
  return false;
}

v1::StartTerms terms_kept(const v1::Turn& t, const v1::StartTerms& terms) {
  if (t.has_tools()) return terms;
  v1::StartTerms kept;
  *kept.mutable_constitution() = terms.constitution();
  return kept;
}

void reopen_approval(Decided& d, const ActorKey& self, const std::string& approval_id,
                     const std::string& action_hash, const v1::Failure& why) {
  v1::ApprovalsCommand c;
  auto* failed = c.mutable_approval_failed();
  failed->set_approval_id(approval_id);
  *failed->mutable_failure() = why;
  *failed->mutable_requester() = to_ref(self);
  failed->set_action_hash(action_hash);
  d.sends.push_back({approvals_key(self.tenant), deterministic_bytes(c)});
}

}  // namespace soma::actors
