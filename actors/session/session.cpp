// The session's rules: started, decided, reserved, recalled, asked, answered. Each wait is a state.
#include "actors/session/session.h"

#include <algorithm>
#include <set>

#include "actors/actor_type.h"
#include "actors/approvals/approvals.h"
#include "actors/memory/memory.h"
#include "actors/model/model.h"
#include "actors/policy/call_terms.h"
#include "actors/session/approved.h"
#include "actors/session/held.h"
#include "actors/session/prompt.h"
#include "actors/session/tools.h"
#include "actors/session/turn.h"
#include "actors/tenant/budget.h"
#include "actors/tenant/tenant.h"

namespace soma::actors {

namespace {

using Decided = SessionDecider::Decided;
using Event = SessionDecider::Event;
constexpr std::size_t kMaxPromptBytes = 64 * 1024;
constexpr int kMaxMetadata = 64;
constexpr int kMaxTurns = 10'000;
constexpr std::uint32_t kMaxRecallAttempts = 3;
constexpr std::uint32_t kRecallTopK = 5;
constexpr std::int64_t kCallDeadlineMs = 120'000;
constexpr std::size_t kMaxForkBytes = 384 * 1024;  // command and events stand in one frame

const v1::Turn* current(const v1::SessionState& s) {
  return s.turns_size() == 0 ? nullptr : &s.turns(s.turns_size() - 1);
}
const std::string& model_of(const v1::SessionState& s, const v1::Turn& t) {
  return s.model().empty() ? t.models().primary() : s.model();
}
bool in_progress(const v1::Turn* t) {
  return t && (t->stage() == v1::AWAITING_APPROVAL || t->stage() == v1::RESERVING ||
               t->stage() == v1::RECALLING || t->stage() == v1::CALLING ||
               t->stage() == v1::AWAITING_TOOLS);
}

Decided replying(const v1::SessionState& s, const std::string& id, v1::SessionStatus status,
                 std::uint32_t turn) {
  Decided d;
  d.reply.set_session_id(s.session_id().empty() ? id : s.session_id());
  d.reply.set_status(status);
  d.reply.set_turn(turn);
  return d;
}

Status check_prompt(const std::string& prompt, const char* field) {
  if (prompt.empty())
    return fail(Code::kInvalidArgument, std::string(field) + " must not be empty", field);
  if (prompt.size() > kMaxPromptBytes)
    return fail(Code::kInvalidArgument, std::string(field) + " is over 64 KiB", field);
  return {};
}

v1::SessionStatus status_after(const Decided& d) {
  if (d.events.back().has_approval_requested()) return v1::WAITING_APPROVAL;
  return d.events.back().has_session_failed() ? v1::FAILED : v1::ACCEPTED;
}

Result<Decided> start(const ActorKey& self, const v1::SessionState& s, const v1::StartSession& c,
                      const v1::Context& context) {
  if (!s.session_id().empty()) return fail(Code::kConflict, "session " + self.id + " exists");
  if (auto ok = check_prompt(c.prompt(), "body.prompt"); !ok) return tl::unexpected(ok.error());
  if (c.metadata_size() > kMaxMetadata)
    return fail(Code::kInvalidArgument, "metadata may have at most 64 entries", "body.metadata");
  if (auto ok = check_tools(c.tools()); !ok) return tl::unexpected(ok.error());
  Decided d = replying(s, self.id, v1::ACCEPTED, 1);
  auto* started = d.events.emplace_back().mutable_session_started();
  started->set_session_id(self.id);
  started->set_tenant_id(self.tenant);
  started->set_user(c.user());
  started->set_model(c.model());
  started->set_persona(c.persona());
  started->set_capsule_id(c.capsule_id());
  *started->mutable_metadata() = c.metadata();
  started->set_at_ms(context.now_ms());
  *started->mutable_settings() = c.settings();
  v1::SessionState fresh;
  SessionDecider::evolve(fresh, d.events.back());
  if (auto ok =
          begin_turn(d, self, fresh, c.prompt(), c.policy(),
                     {c.settings(), c.constitution(), c.models(), c.rules(), c.tools()}, context);
      !ok)
    return tl::unexpected(ok.error());
  d.reply.set_status(status_after(d));
  return d;
}

Result<Decided> send(const ActorKey& self, const v1::SessionState& s, const v1::SendMessage& c,
                     const v1::Context& context) {
  if (s.session_id().empty()) return fail(Code::kNotFound, "Session not found");
  if (auto ok = check_prompt(c.content(), "body.content"); !ok) return tl::unexpected(ok.error());
  if (in_progress(current(s)))
    return fail(Code::kConflict, "a turn of this session is in progress");
  if (auto ok = check_tools(c.tools()); !ok) return tl::unexpected(ok.error());
  if (s.turns_size() >= kMaxTurns)
    return fail(Code::kConflict, "the session has 10000 turns, the most there may be");
  Decided d = replying(s, self.id, v1::ACCEPTED, static_cast<std::uint32_t>(s.turns_size() + 1));
  d.events.emplace_back().mutable_session_continued()->set_at_ms(context.now_ms());
  if (auto ok =
          begin_turn(d, self, s, c.content(), c.policy(),
                     {c.settings(), c.constitution(), c.models(), c.rules(), c.tools()}, context);
      !ok)
    return tl::unexpected(ok.error());
  d.reply.set_status(status_after(d));
  return d;
}

Result<Decided> cancel(const v1::SessionState& s, const v1::CancelSession& c,
                       const v1::Context& context) {
  if (s.session_id().empty()) return fail(Code::kNotFound, "Session not found");
  if (s.status() == v1::CANCELLED) return no_change(s);
  const v1::Turn* t = current(s);
  if (!in_progress(t)) return fail(Code::kConflict, "the session has no turn in progress");
  Decided d = replying(s, s.session_id(), v1::CANCELLED, t->turn());
  auto* cancelled = d.events.emplace_back().mutable_session_cancelled();
  cancelled->set_reason(c.reason());
  cancelled->set_at_ms(context.now_ms());
  cancelled->set_turn(t->turn());
  if (!t->call_id().empty()) {
    v1::ModelCommand stop;
    stop.mutable_cancel_call()->set_call_id(t->call_id());
    stop.mutable_cancel_call()->set_reason("session cancelled");
    d.sends.push_back(
        {pool_key(s.tenant_id(), model_of(s, *t), context.partition()), deterministic_bytes(stop)});
  }
  release(d, s, *t, "session cancelled");
  if (t->stage() == v1::AWAITING_APPROVAL) {
    v1::ApprovalsCommand withdraw;
    withdraw.mutable_withdraw_approval()->set_approval_id(t->approval_id());
    withdraw.mutable_withdraw_approval()->set_reason("session cancelled");
    d.sends.push_back({approvals_key(s.tenant_id()), deterministic_bytes(withdraw)});
  }
  withdraw_calls(d, s, *t, "session cancelled");
  return d;
}

Result<Decided> complete(const v1::SessionState& s, const v1::Context& context) {
  if (s.session_id().empty()) return fail(Code::kNotFound, "Session not found");
  if (in_progress(current(s)))
    return fail(Code::kConflict, "a turn of this session is in progress");
  if (s.status() == v1::COMPLETED) return no_change(s);
  if (s.status() != v1::FAILED) return fail(Code::kConflict, "the session was cancelled");
  Decided d = no_change(s);
  d.reply.set_status(v1::COMPLETED);
  d.events.emplace_back().mutable_session_completed()->set_at_ms(context.now_ms());
  return d;
}

// The origin's events become this session's, under the same numbers; what the origin was waiting
// for there is not waited for here.
Result<Decided> fork(const ActorKey& self, const v1::SessionState& s, const v1::ForkSession& c,
                     const v1::Context& context) {
  if (!s.session_id().empty()) return fail(Code::kConflict, "session " + self.id + " exists");
  if (c.events().empty() || !c.events(0).has_session_started() ||
      c.events(0).session_started().tenant_id() != self.tenant ||
      c.at_sequence() != static_cast<std::uint64_t>(c.events_size()))
    return fail(Code::kInvalidArgument, "at_sequence must be one of the session's, from 1",
                "body.at_sequence");
  if (c.ByteSizeLong() > kMaxForkBytes)
    return fail(Code::kTooLarge, "the history up to there is over 384 KiB; fork earlier",
                "body.at_sequence");
  v1::SessionState forked;
  Decided d;
  const auto record = [&](const Event& e) {
    d.events.push_back(e);
    SessionDecider::evolve(forked, e);
  };
  for (const auto& e : c.events()) {
    Event copy = e;
    if (copy.has_session_started()) copy.mutable_session_started()->set_session_id(self.id);
    record(copy);
  }
  Event event;
  auto* origin = event.mutable_session_forked();
  origin->set_origin_session_id(c.origin_session_id());
  origin->set_at_sequence(c.at_sequence());
  origin->set_at_ms(context.now_ms());
  record(event);
  const v1::Turn* t = current(forked);
  if (t && t->stage() == v1::DONE && forked.status() == v1::RUNNING) {
    Event done;
    done.mutable_session_completed()->set_at_ms(context.now_ms());
    record(done);
  } else if (in_progress(t) || forked.status() == v1::RUNNING) {
    Decided end;
    fail_turn(end, t ? t->turn() : 0,
              failure("forked", "the fork was taken in the middle of this turn"), context.now_ms());
    for (const auto& e : end.events) record(e);
  }
  d.reply.set_session_id(self.id);
  d.reply.set_status(forked.status());
  d.reply.set_turn(static_cast<std::uint32_t>(forked.turns_size()));
  return d;
}

// The action that waited is closed; what is written now waits under an approval of its own.
Result<Decided> edit(const ActorKey& self, const v1::SessionState& s, const v1::EditTurn& c,
                     const v1::Context& context) {
  if (s.session_id().empty()) return fail(Code::kNotFound, "Session not found");
  if (auto ok = check_prompt(c.content(), "body.content"); !ok) return tl::unexpected(ok.error());
  const v1::Turn* t = current(s);
  if (!t || t->stage() != v1::AWAITING_APPROVAL || t->approval_id() != c.approval_id())
    return fail(Code::kConflict, "the session no longer waits for this approval");
  if (!t->tool_rounds().empty())
    return fail(Code::kConflict,
                "the turn's tools have run: approve or reject it; another prompt is another turn");
  if (c.content() == t->prompt())
    return fail(Code::kInvalidArgument, "content is what waits already; approve it instead",
                "body.content");
  Decided d = replying(s, s.session_id(), v1::WAITING_APPROVAL, t->turn());
  if (auto ok = edit_turn(d, self, s, *t, c, context); !ok) return tl::unexpected(ok.error());
  d.reply.set_status(status_after(d));
  if (d.events.back().has_approval_requested())
    d.reply.set_approval_id(d.events.back().approval_requested().approval_id());
  return d;
}

Result<Decided> person_decided(const ActorKey& self, const v1::SessionState& s,
                               const v1::SessionApprovalDecided& c, const v1::Context& context) {
  if (tool_waits_for(s, c.approval_id())) return tool_person_decided(self, s, c, context);
  const v1::Turn* t = current(s);
  Decided d = no_change(s);
  if (!t || t->stage() != v1::AWAITING_APPROVAL || t->approval_id() != c.approval_id()) return d;
  if (!c.approved() || c.action_hash() != t->action_hash()) {
    fail_turn(d, t->turn(),
              failure("approval_rejected", "approval " + c.approval_id() + " was rejected by " +
                                               c.decided_by() +
                                               (c.reason().empty() ? "" : ": " + c.reason())),
              context.now_ms());
    d.reply.set_status(v1::FAILED);
    return d;
  }
  if (!approved_turn_may_start(d, self, s, *t, c.terms(), context)) return d;
  auto* approved = d.events.emplace_back().mutable_approval_granted();
  approved->set_turn(t->turn());
  approved->set_approval_id(c.approval_id());
  approved->set_approved_by(c.decided_by());
  approved->set_at_ms(context.now_ms());
  *approved->mutable_terms() = terms_kept(*t, c.terms());
  ask_budget(d, self, t->turn(),
             estimate_tokens(s, t->prompt(), max_tokens_of(s)) + tool_tokens(*t), t->requested_by(),
             context);
  return d;
}

Result<Decided> denied(const v1::SessionState& s, const v1::BudgetDenied& c,
                       const v1::Context& context) {
  const v1::Turn* t = current(s);
  Decided d = no_change(s);
  if (!t || t->reservation_id() != c.reservation_id() || t->stage() != v1::RESERVING) return d;
  fail_turn(d, t->turn(), failure("budget_exhausted", shortage_text(c.shortage())),
            context.now_ms());
  return d;
}

// Whose data goes out. What the system message quotes of others is theirs as well.
void name_subjects(v1::ModelRequest& request, const v1::Turn& turn, const v1::Context& context) {
  if (context.data_subject().empty()) return;
  request.set_user(context.data_subject());
  std::set<std::string> users{context.data_subject()};
  for (const auto& memory : turn.memories())
    if (!memory.user().empty()) users.insert(memory.user());
  if (users.size() < 2) return;
  for (const auto& user : users) request.mutable_messages(0)->add_users(user);
}

// What was just decided (recalled, or paid for again) is the last event; the model is asked in the
// same decision.
void ask_model(Decided& d, const ActorKey& self, const v1::SessionState& before,
               const v1::Context& context) {
  v1::SessionState s = before;
  SessionDecider::evolve(s, d.events.back());
  const v1::Turn& turn = *current(s);
  const AssembledPrompt prompt = assemble_prompt(s, turn.turn());
  auto* requested = d.events.emplace_back().mutable_model_requested();
  requested->set_turn(turn.turn());
  requested->set_call_id(derive_id(context, "call"));
  requested->set_model(model_of(s, turn));
  requested->mutable_sampling()->set_max_tokens(max_tokens_of(s));
  requested->mutable_sampling()->set_temperature(0);
  requested->mutable_sampling()->set_has_temperature(true);
  for (auto n : prompt.from_turns) requested->add_from_turns(n);
  for (const auto& id : prompt.from_memories) requested->add_from_memories(id);
  requested->set_input_hash(prompt.input_hash);
  v1::ModelCommand c;
  auto* request = c.mutable_request_call()->mutable_request();
  request->set_call_id(requested->call_id());
  request->set_model(requested->model());
  if (s.model().empty()) {
    *request->mutable_fallbacks() = turn.models().fallbacks();
    request->set_profile(turn.models().profile());
  }
  // Once tools have run the turn cannot begin again.
  request->set_report_unstarted(!turn.approved_by().empty() && turn.tool_rounds().empty());
  for (const auto& m : prompt.messages) *request->add_messages() = m;
  for (const auto& tool : turn.tools().tools()) *request->add_tools() = tool.tool();
  name_subjects(*request, turn, context);
  *request->mutable_sampling() = requested->sampling();
  *request->mutable_caller() = to_ref(self);
  request->set_mode("chat");
  request->set_deadline_ms(context.now_ms() + kCallDeadlineMs);
  request->set_attempts_before(turn.attempts_before());
  *request->mutable_terms() = call_terms(turn.decision(), self.tenant, turn.has_tools());
  d.sends.push_back(
      {pool_key(s.tenant_id(), requested->model(), context.partition()), deterministic_bytes(c)});
  if (turn.attempts_before() == 0) return;
  auto* again = d.events.emplace_back().mutable_model_restarted();
  again->set_turn(turn.turn());
  again->set_attempt(turn.attempts_before() + 1);
}

Result<Decided> granted(const ActorKey& self, const v1::SessionState& s, const v1::BudgetGranted& c,
                        const v1::Context& context) {
  const v1::Turn* t = current(s);
  Decided d = no_change(s);
  if (!t || t->reservation_id() != c.reservation_id() || t->stage() != v1::RESERVING) {
    // The turn ended while the tenant decided; what it granted goes back.
    v1::TenantCommand back;
    back.mutable_release_budget()->set_reservation_id(c.reservation_id());
    back.mutable_release_budget()->set_reason("the turn had ended");
    send_to_tenant(d, s.tenant_id(), back);
    return d;
  }
  auto* reserved = d.events.emplace_back().mutable_budget_reserved();
  reserved->set_turn(t->turn());
  reserved->set_tokens(c.tokens());
  reserved->set_remaining_tokens(c.remaining_tokens());
  if (t->tool_rounds_size() > 0) ask_model(d, self, s, context);  // what was recalled stands
  return d;
}

Result<Decided> recalled(const ActorKey& self, const v1::SessionState& s,
                         const v1::EffectOutcome& o, const v1::Context& context) {
  const v1::Turn* t = current(s);
  Decided d = no_change(s);
  if (!t || t->stage() != v1::RECALLING || o.effect_id() != "recall:" + t->reservation_id() ||
      o.attempt() != t->recall_attempt() + 1)
    return d;
  v1::MemoryRecalled event;
  event.set_turn(t->turn());
  v1::RecallResult result;
  if (o.has_result() && result.ParseFromString(o.result())) {
    *event.mutable_memories() = result.memories();
    event.set_index_position(result.index_position());
    event.set_degraded(result.degraded());
    event.set_degraded_reason(result.degraded_reason());
    *d.events.emplace_back().mutable_memory_recalled() = event;
    ask_model(d, self, s, context);
    return d;
  }
  const v1::Failure f =
      o.has_failure() ? o.failure() : failure("internal", "the recall's outcome could not be read");
  if (f.retryable() && o.attempt() < kMaxRecallAttempts) {
    auto* again = d.events.emplace_back().mutable_memory_recall_retried();
    again->set_turn(t->turn());
    again->set_attempt(o.attempt());
    again->set_not_before_ms(context.now_ms() + (1000LL << (o.attempt() - 1)));
    *again->mutable_failure() = f;
    return d;
  }
  event.set_degraded(true);  // a turn without memory is answered, and says so
  event.set_degraded_reason(f.message());
  *d.events.emplace_back().mutable_memory_recalled() = event;
  ask_model(d, self, s, context);
  return d;
}

Result<Decided> progressed(const v1::SessionState& s, const v1::CallProgress& c) {
  const v1::Turn* t = current(s);
  Decided d = no_change(s);
  if (!t || t->call_id() != c.call_id() || t->stage() != v1::CALLING) return d;
  auto* restarted = d.events.emplace_back().mutable_model_restarted();
  restarted->set_turn(t->turn());
  restarted->set_attempt(c.attempt());
  return d;
}

Result<Decided> answered(const ActorKey& self, const v1::SessionState& s,
                         const v1::ModelAnswer& answer, const v1::Context& context) {
  const v1::Turn* t = current(s);
  Decided d = no_change(s);
  if (!t || t->call_id() != answer.call_id() || t->stage() != v1::CALLING) return d;
  if (asks_for_tools(*t, answer)) return tools_asked(self, s, answer, context);
  auto* event = d.events.emplace_back().mutable_model_answered();
  event->set_turn(t->turn());
  *event->mutable_answer() = answer;
  v1::MemoryCommand remember;
  auto* fact = remember.mutable_remember()->mutable_fact();
  fact->set_memory_id(derive_id(context, "mem"));
  fact->set_text("User: " + t->prompt().substr(0, 16'000) +
                 "\nAssistant: " + answer.output().substr(0, 16'000));
  fact->set_user(s.user());
  fact->set_importance(0.5);
  fact->set_coord(fact->memory_id());
  fact->set_source("session:" + self.id);
  fact->set_created_ms(context.now_ms());
  auto* done = d.events.emplace_back().mutable_turn_completed();
  done->set_turn(t->turn());
  *done->mutable_usage() = usage_with(*t, answer);
  done->set_at_ms(context.now_ms());
  done->set_memory_id(fact->memory_id());
  d.events.emplace_back().mutable_session_completed()->set_at_ms(context.now_ms());
  v1::TenantCommand settle;
  settle.mutable_settle_budget()->set_reservation_id(t->reservation_id());
  settle.mutable_settle_budget()->set_used_tokens(static_cast<std::int64_t>(
      answer.usage().prompt_tokens() + answer.usage().completion_tokens()));
  send_to_tenant(d, s.tenant_id(), settle);
  d.sends.push_back({memory_key(s.tenant_id(), fact->memory_id()), deterministic_bytes(remember)});
  d.reply.set_status(v1::COMPLETED);
  return d;
}

Result<Decided> died(const ActorKey& self, const v1::SessionState& s, const v1::CallDied& c,
                     const v1::Context& context) {
  const v1::Turn* t = current(s);
  Decided d = no_change(s);
  if (!t || t->call_id() != c.call_id() || t->stage() != v1::CALLING) return d;
  if (c.not_started() && !t->approved_by().empty() && t->tool_rounds().empty()) {
    reopen_turn(d, self, s, *t, c.failure(), context);
    return d;
  }
  fail_turn(d, t->turn(), c.failure(), context.now_ms());
  release(d, s, *t, "the model call failed");
  return d;
}

}  // namespace

Result<Decided> SessionDecider::decide(const ActorKey& self, const State& s, const Command& c,
                                       const v1::Context& context) {
  switch (c.kind_case()) {
    case Command::kStartSession:
      return start(self, s, c.start_session(), context);
    case Command::kSendMessage:
      return send(self, s, c.send_message(), context);
    case Command::kCancelSession:
      return cancel(s, c.cancel_session(), context);
    case Command::kCompleteSession:
      return complete(s, context);
    case Command::kForkSession:
      return fork(self, s, c.fork_session(), context);
    case Command::kBudgetGranted:
      return granted(self, s, c.budget_granted(), context);
    case Command::kBudgetDenied:
      return denied(s, c.budget_denied(), context);
    case Command::kCallProgress:
      return progressed(s, c.call_progress());
    case Command::kCallSucceeded:
      return answered(self, s, c.call_succeeded().answer(), context);
    case Command::kCallDied:
      return died(self, s, c.call_died(), context);
    case Command::kCallHeld:
      return judge_held_call(self, s, c.call_held(), context);
    case Command::kEditTurn:
      return edit(self, s, c.edit_turn(), context);
    case Command::kApprovalDecided:
      return person_decided(self, s, c.approval_decided(), context);
    case Command::kSubmitToolResult:
      return tool_result(self, s, c.submit_tool_result(), context);
    case Command::kEffectOutcome:
      if (c.effect_outcome().effect_id().starts_with("tools:"))
        return tools_overdue(s, c.effect_outcome(), context);
      return recalled(self, s, c.effect_outcome(), context);
    case Command::KIND_NOT_SET:
      break;
  }
  return fail(Code::kInvalidArgument, "command has no case", "command");
}

std::vector<Effect> SessionDecider::effects(const ActorKey& self, const State& s) {
  const v1::Turn* t = current(s);
  if (t && t->stage() == v1::AWAITING_TOOLS) return tool_effects(*t);
  if (!t || t->stage() != v1::RECALLING) return {};
  v1::RecallRequest request;
  request.set_tenant(self.tenant);
  request.set_query(t->prompt());
  request.set_top_k(kRecallTopK);
  return {{"recall:" + t->reservation_id(), "memory.recall", EffectClass::kIdempotent,
           t->recall_attempt() + 1, t->recall_not_before_ms(), 0, request.SerializeAsString()}};
}

}  // namespace soma::actors
