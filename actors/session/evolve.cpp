// What each event makes of a session, and the events' public names.
#include "actors/session/held.h"
#include "actors/session/session.h"
#include "actors/session/tools.h"

namespace soma::actors {

namespace {

v1::Turn* turn(v1::SessionState& s, std::uint32_t number) {
  return number >= 1 && number <= static_cast<std::uint32_t>(s.turns_size())
             ? s.mutable_turns(static_cast<int>(number) - 1)
             : nullptr;
}

void touch(v1::SessionState& s, std::int64_t at_ms) { s.set_updated_ms(at_ms); }

void started(v1::SessionState& s, const v1::SessionStarted& e) {
  s.set_session_id(e.session_id());
  s.set_tenant_id(e.tenant_id());
  s.set_user(e.user());
  s.set_model(e.model());
  s.set_persona(e.persona());
  s.set_capsule_id(e.capsule_id());
  *s.mutable_metadata() = e.metadata();
  *s.mutable_settings() = e.settings();
  s.set_status(v1::ACCEPTED);
  s.set_created_ms(e.at_ms());
  touch(s, e.at_ms());
}

void decided(v1::SessionState& s, const v1::PolicyDecided& e) {
  if (!e.tool_call_id().empty()) return;  // the call itself says what became of it
  if (auto* t = turn(s, e.turn())) *t->mutable_decision() = e.decision();
}

void recalled(v1::SessionState& s, const v1::MemoryRecalled& e) {
  if (auto* t = turn(s, e.turn())) {
    *t->mutable_memories() = e.memories();
    t->set_recall_degraded(e.degraded());
    t->set_stage(v1::CALLING);
  }
}

void answered(v1::SessionState& s, const v1::ModelAnswered& e) {
  if (auto* t = turn(s, e.turn())) {
    t->clear_attempts_before();
    t->set_model(e.answer().model());
    t->set_attempt(e.answer().attempt());
    *t->mutable_usage() = usage_with(*t, e.answer());
    if (asks_for_tools(*t, e.answer())) return fold_tool_answer(*t, e.answer());
    t->set_answer(e.answer().output());
  }
}

void ended(v1::SessionState& s, std::uint32_t number, v1::TurnStage stage, std::int64_t at_ms) {
  if (auto* t = turn(s, number)) {
    t->set_stage(stage);
    t->set_finished_ms(at_ms);
    t->clear_principal();
    abandon_calls(*t);
  }
  touch(s, at_ms);
}

void turn_started(v1::SessionState& s, const v1::TurnStarted& e) {
  auto* t = s.add_turns();
  t->set_turn(e.turn());
  t->set_prompt(e.prompt());
  t->set_started_ms(e.at_ms());
  t->set_requested_by(e.requested_by());
  if (e.has_models()) *t->mutable_models() = e.models();
  if (e.has_principal()) *t->mutable_principal() = e.principal();
  if (e.has_tools()) *t->mutable_tools() = e.tools();
  *s.mutable_constitution() = e.constitution();
  s.set_constitution_hash(e.constitution().hash());
  s.set_status(v1::RUNNING);
  s.clear_error();
  touch(s, e.at_ms());
}

// Waits again as before it was approved: nothing of the attempt is left but why it failed.
void reopened(v1::SessionState& s, const v1::TurnReopened& e) {
  if (auto* t = turn(s, e.turn())) {
    t->set_stage(v1::AWAITING_APPROVAL);
    *t->mutable_error() = e.failure();
    t->clear_approved_by();
    t->clear_reservation_id();
    t->clear_reserved_tokens();
    t->clear_call_id();
    t->clear_attempt();
    t->clear_attempts_before();
    if (t->tool_rounds().empty()) t->clear_memories();  // else nothing recalls them again
    t->clear_recall_attempt();
    t->clear_recall_not_before_ms();
  }
  s.set_status(v1::WAITING_APPROVAL);
  touch(s, e.at_ms());
}

void edited(v1::SessionState& s, const v1::TurnEdited& e) {
  if (auto* t = turn(s, e.turn())) {
    t->set_prompt(e.prompt());
    t->set_edited_by(e.edited_by());
    if (e.has_principal()) *t->mutable_principal() = e.principal();
    t->clear_error();
  }
  *s.mutable_constitution() = e.constitution();
  s.set_constitution_hash(e.constitution().hash());
  touch(s, e.at_ms());
}

// Under what it was approved it goes on, its tools' calls too.
void approved(v1::SessionState& s, v1::Turn& t, const v1::TurnApproved& e) {
  t.set_approved_by(e.approved_by());
  t.clear_error();
  if (!e.has_terms()) return;
  *s.mutable_constitution() = e.terms().constitution();
  s.set_constitution_hash(e.terms().constitution().hash());
  if (!t.has_tools()) return;
  *t.mutable_tools()->mutable_settings() = e.terms().settings();
  *t.mutable_tools()->mutable_rules() = e.terms().rules();
}

// What concerns the person who must approve a turn, and a decision in the place of the first.
void decided_again(v1::SessionState& s, const v1::SessionEvent& e) {
  if (e.has_turn_judged_again()) {
    if (auto* t = turn(s, e.turn_judged_again().turn()))
      fold_judged_again(s, *t, e.turn_judged_again());
    return touch(s, e.turn_judged_again().at_ms());
  }
  if (e.has_turn_reopened()) return reopened(s, e.turn_reopened());
  if (e.has_turn_edited()) return edited(s, e.turn_edited());
  if (e.has_approval_requested()) {
    if (auto* t = turn(s, e.approval_requested().turn())) {
      t->set_stage(v1::AWAITING_APPROVAL);
      t->set_approval_id(e.approval_requested().approval_id());
      t->set_action_hash(e.approval_requested().action_hash());
    }
    s.set_status(v1::WAITING_APPROVAL);
    return touch(s, e.approval_requested().at_ms());
  }
  if (auto* t = turn(s, e.approval_granted().turn())) approved(s, *t, e.approval_granted());
  s.set_status(v1::RUNNING);
  touch(s, e.approval_granted().at_ms());
}

}  // namespace

void SessionDecider::evolve(State& s, const Event& e) {
  switch (e.kind_case()) {
    case Event::kSessionStarted:
      return started(s, e.session_started());
    case Event::kTurnStarted:
      return turn_started(s, e.turn_started());
    case Event::kPolicyDecided:
      return decided(s, e.policy_decided());
    case Event::kBudgetRequested:
      if (auto* t = turn(s, e.budget_requested().turn())) {
        t->set_stage(v1::RESERVING);
        t->set_reservation_id(e.budget_requested().reservation_id());
        t->set_reserved_tokens(e.budget_requested().tokens());
      }
      return;
    case Event::kBudgetReserved:
      if (auto* t = turn(s, e.budget_reserved().turn()))
        t->set_stage(t->tool_rounds_size() > 0 ? v1::CALLING : v1::RECALLING);
      return;
    case Event::kMemoryRecalled:
      return recalled(s, e.memory_recalled());
    case Event::kMemoryRecallRetried:
      if (auto* t = turn(s, e.memory_recall_retried().turn())) {
        t->set_recall_attempt(e.memory_recall_retried().attempt());
        t->set_recall_not_before_ms(e.memory_recall_retried().not_before_ms());
      }
      return;
    case Event::kModelRequested:
      if (auto* t = turn(s, e.model_requested().turn()))
        t->set_call_id(e.model_requested().call_id());
      return;
    case Event::kModelRestarted:
      if (auto* t = turn(s, e.model_restarted().turn()))
        t->set_attempt(e.model_restarted().attempt());
      return;
    case Event::kModelAnswered:
      return answered(s, e.model_answered());
    case Event::kTurnCompleted:
      return ended(s, e.turn_completed().turn(), v1::DONE, e.turn_completed().at_ms());
    case Event::kTurnFailed:
      ended(s, e.turn_failed().turn(), v1::TURN_FAILED, e.turn_failed().at_ms());
      if (auto* t = turn(s, e.turn_failed().turn()))
        *t->mutable_error() = e.turn_failed().failure();
      return;
    case Event::kSessionCompleted:
      s.set_status(v1::COMPLETED);
      s.clear_error();
      return touch(s, e.session_completed().at_ms());
    case Event::kSessionFailed:
      s.set_status(v1::FAILED);
      *s.mutable_error() = e.session_failed().failure();
      return touch(s, e.session_failed().at_ms());
    case Event::kSessionCancelled:
      ended(s, e.session_cancelled().turn(), v1::TURN_CANCELLED, e.session_cancelled().at_ms());
      s.set_status(v1::CANCELLED);
      return;
    case Event::kSessionContinued:
      return touch(s, e.session_continued().at_ms());
    case Event::kSessionForked:
      s.set_forked_from(e.session_forked().origin_session_id());
      s.set_forked_at(e.session_forked().at_sequence());
      return touch(s, e.session_forked().at_ms());
    case Event::kApprovalRequested:
    case Event::kApprovalGranted:
    case Event::kTurnReopened:
    case Event::kTurnEdited:
    case Event::kTurnJudgedAgain:
      return decided_again(s, e);
    case Event::kToolCallRequested:
    case Event::kToolCallDenied:
    case Event::kToolApprovalRequested:
    case Event::kToolCallAnswered:
    case Event::kToolsAwaited:
    case Event::kToolsSettled:
      return evolve_tools(s, e);
    case Event::KIND_NOT_SET:
      return;
  }
}

std::string SessionDecider::event_type(const Event& e) {
  switch (e.kind_case()) {
    case Event::kSessionStarted:
      return "session.started";
    case Event::kTurnStarted:
      return "turn.started";
    case Event::kPolicyDecided:
      return "policy.decided";
    case Event::kBudgetRequested:
      return "budget.requested";
    case Event::kBudgetReserved:
      return "budget.reserved";
    case Event::kMemoryRecalled:
      return "memory.recalled";
    case Event::kMemoryRecallRetried:
      return "memory.recall_retried";
    case Event::kModelRequested:
      return "model.requested";
    case Event::kModelRestarted:
      return "model.restarted";
    case Event::kModelAnswered:
      return "model.answered";
    case Event::kTurnCompleted:
      return "turn.completed";
    case Event::kTurnFailed:
      return "turn.failed";
    case Event::kSessionCompleted:
      return "session.completed";
    case Event::kSessionFailed:
      return "session.failed";
    case Event::kSessionCancelled:
      return "session.cancelled";
    case Event::kSessionContinued:
      return "session.continued";
    case Event::kSessionForked:
      return "session.forked";
    case Event::kApprovalRequested:
      return "approval.requested";
    case Event::kApprovalGranted:
      return "approval.granted";
    case Event::kTurnReopened:
      return "turn.reopened";
    case Event::kTurnEdited:
      return "turn.edited";
    case Event::kTurnJudgedAgain:
      return "turn.judged_again";
    case Event::kToolCallRequested:
      return "tool.call.requested";
    case Event::kToolCallDenied:
      return "tool.call.denied";
    case Event::kToolApprovalRequested:
      return "tool.approval.requested";
    case Event::kToolCallAnswered:
      return "tool.call.answered";
    case Event::kToolsAwaited:
      return "tools.awaited";
    case Event::kToolsSettled:
      return "tools.settled";
    case Event::KIND_NOT_SET:
      break;
  }
  return {};
}

}  // namespace soma::actors
