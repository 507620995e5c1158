// What is in force when the call starts counts, not what was when the turn began.
#include "actors/session/held.h"

#include "actors/session/approved.h"
#include "actors/session/prompt.h"
#include "actors/session/tools.h"
#include "actors/session/turn.h"
#include "actors/tenant/budget.h"

namespace soma::actors {

using Decided = SessionDecider::Decided;

namespace {

void refuse(Decided& d, const ActorKey& self, const v1::SessionState& s, const v1::Turn& t,
            v1::Failure why, const v1::Context& context) {
  // Once tools have run the turn cannot begin again.
  if (!t.approved_by().empty() && t.tool_rounds().empty())
    return reopen_turn(d, self, s, t, why, context);
  if (why.code() == "kill_switch_active") why.set_message("Gateway kill-switch active");
  fail_turn(d, t.turn(), why, context.now_ms());
  release(d, s, t, "the model call may not start any more");
  d.reply.set_status(v1::FAILED);
}

}  // namespace

Result<Decided> judge_held_call(const ActorKey& self, const v1::SessionState& s,
                                const v1::CallHeld& c, const v1::Context& context) {
  Decided d = no_change(s);
  if (s.turns_size() == 0) return d;
  const v1::Turn& t = s.turns(s.turns_size() - 1);
  if (t.stage() != v1::CALLING || t.call_id() != c.call_id()) return d;
  const v1::StartTerms& terms = c.terms();
  const std::int64_t tokens = estimate_tokens(s, t.prompt(), max_tokens_of(s)) + tool_tokens(t);
  v1::Context asked = context;
  *asked.mutable_principal() = terms.asker();
  const auto decision = judge_turn(t.decision().input(), tokens, terms.settings(),
                                   terms.constitution(), terms.rules(), self, s, asked);
  if (decision) record_decision(d, t, *decision);
  if (const v1::Failure why = refusal(terms, decision, "turn"); !why.code().empty()) {
    refuse(d, self, s, t, why, context);
    return d;
  }
  auto* again = d.events.emplace_back().mutable_turn_judged_again();
  again->set_turn(t.turn());
  *again->mutable_terms() = terms_kept(t, terms);
  *again->mutable_terms()->mutable_asker() = terms.asker();
  again->set_attempts(c.attempt());
  again->set_at_ms(context.now_ms());
  release(d, s, t, "the turn was judged again before its model call");
  if (const auto shortage =
          session_shortage(terms.settings(), used_tokens(s), s.turns_size() - 1, tokens)) {
    fail_turn(d, t.turn(), failure("budget_exhausted", shortage_text(*shortage)), context.now_ms());
    d.reply.set_status(v1::FAILED);
  } else if (decision->needs_approval() && t.approved_by().empty()) {
    park_turn(d, self, s, t, *decision, context);
    d.reply.set_status(v1::WAITING_APPROVAL);
  } else {
    ask_budget(d, self, t.turn(), tokens, t.requested_by(), context);
  }
  return d;
}

namespace {

// What somebody may do now; another's name is not taken over.
void take_capabilities(v1::Principal& of, const v1::Principal& now) {
  if (of.subject() == now.subject()) *of.mutable_capabilities() = now.capabilities();
}

}  // namespace

void fold_judged_again(v1::SessionState& s, v1::Turn& t, const v1::TurnJudgedAgain& e) {
  const auto& terms = e.terms();
  *s.mutable_constitution() = terms.constitution();
  s.set_constitution_hash(terms.constitution().hash());
  if (t.has_principal())
    take_capabilities(*t.mutable_principal(), terms.asker());
  else
    *t.mutable_principal() = terms.asker();
  t.set_attempts_before(e.attempts());
  t.clear_call_id();
  t.clear_reservation_id();
  t.clear_reserved_tokens();
  t.clear_recall_attempt();
  t.clear_recall_not_before_ms();
  if (!t.has_tools()) return;
  *t.mutable_tools()->mutable_settings() = terms.settings();
  *t.mutable_tools()->mutable_rules() = terms.rules();
  take_capabilities(*t.mutable_tools()->mutable_principal(), terms.asker());
}

}  // namespace soma::actors
