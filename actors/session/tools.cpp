// A round of tool calls: asked for, answered, approved, overdue; and what follows from each.
#include "actors/session/tools.h"

#include <algorithm>
#include <charconv>

#include "actors/actor_type.h"
#include "actors/approvals/approvals.h"
#include "actors/session/approved.h"
#include "actors/session/prompt.h"
#include "actors/session/turn.h"
#include "actors/tenant/budget.h"
#include "schemas/base/cut_text.h"

namespace soma::actors {

using Decided = SessionDecider::Decided;

namespace {

constexpr std::int64_t kResultSeconds = 600;
constexpr std::int64_t kMaxResultSeconds = 24LL * 3600;
constexpr std::size_t kSummaryBytes = 500;

const v1::Turn& last_turn(const v1::SessionState& s) { return s.turns(s.turns_size() - 1); }
const v1::ToolRound& last_round(const v1::Turn& t) {
  return t.tool_rounds(t.tool_rounds_size() - 1);
}

bool any(const v1::ToolRound& round, v1::ToolCallStatus status) {
  return std::any_of(round.calls().begin(), round.calls().end(),
                     [&](const auto& call) { return call.status() == status; });
}

// How long results may take: the session's metadata "tool_seconds", 1 second to a day; ten minutes
// when absent or unreadable.
std::int64_t result_ms_of(const v1::SessionState& s) {
  const auto it = s.metadata().find("tool_seconds");
  std::int64_t n = 0;
  if (it != s.metadata().end())
    std::from_chars(it->second.data(), it->second.data() + it->second.size(), n);
  return 1000 * (n < 1 ? kResultSeconds : std::min(n, kMaxResultSeconds));
}

std::string timer_id(const v1::Turn& t) {
  return "tools:" + std::to_string(t.turn()) + ":" + std::to_string(t.tool_rounds_size());
}

// Records and folds, so that what follows is decided on what stands.
class Steps {
 public:
  Steps(Decided& d, const v1::SessionState& s) : d_(d), state_(s) {
    for (const auto& e : d.events) SessionDecider::evolve(state_, e);
  }
  void add(const v1::SessionEvent& e) {
    d_.events.push_back(e);
    SessionDecider::evolve(state_, e);
  }
  const v1::SessionState& state() const { return state_; }

 private:
  Decided& d_;
  v1::SessionState state_;
};

void ask_person(Decided& d, const ActorKey& self, const v1::SessionState& s, const v1::Turn& t,
                const v1::ToolCall& call, const v1::Context& context) {
  v1::Approval a = approval_for(self, context, approval_ms_of(s));
  a.set_approval_id(call.approval_id());
  a.set_requested_by(t.requested_by());  // whose turn it is, who may not approve
  a.set_action("tool.call");
  a.set_action_hash(call.action_hash());
  a.set_session_id(self.id);
  a.set_summary(cut_text(call.name() + " " + call.arguments(), kSummaryBytes));
  if (!context.data_subject().empty()) a.set_user(context.data_subject());
  d.sends.push_back(ask(self, a));
}

void settle_call(Decided& d, const v1::SessionState& s, const v1::Turn& t,
                 const v1::TokenUsage& usage) {
  v1::TenantCommand c;
  c.mutable_settle_budget()->set_reservation_id(t.reservation_id());
  c.mutable_settle_budget()->set_used_tokens(
      static_cast<std::int64_t>(usage.prompt_tokens() + usage.completion_tokens()));
  send_to_tenant(d, s.tenant_id(), c);
}

// Waits for people, then for results, then pays for the next request.
void proceed(Decided& d, Steps& steps, const ActorKey& self, const v1::Context& context) {
  const v1::Turn& t = last_turn(steps.state());
  const v1::ToolRound& round = last_round(t);
  const bool people = any(round, v1::CALL_AWAITS_APPROVAL);
  v1::SessionEvent e;
  if (people || any(round, v1::CALL_REQUESTED)) {
    const auto status = people ? v1::WAITING_APPROVAL : v1::WAITING_TOOLS;
    d.reply.set_status(status);
    if (steps.state().status() == status) return;
    auto* awaited = e.mutable_tools_awaited();
    awaited->set_turn(t.turn());
    awaited->set_status(status);
    if (!people) awaited->set_deadline_ms(context.now_ms() + result_ms_of(steps.state()));
    awaited->set_at_ms(context.now_ms());
    return steps.add(e);
  }
  auto* settled = e.mutable_tools_settled();
  settled->set_turn(t.turn());
  settled->set_round(static_cast<std::uint32_t>(t.tool_rounds_size()));
  settled->set_at_ms(context.now_ms());
  steps.add(e);
  d.reply.set_status(v1::RUNNING);
  const v1::SessionState& s = steps.state();
  const std::int64_t tokens =
      estimate_tokens(s, last_turn(s).prompt(), max_tokens_of(s)) + tool_tokens(last_turn(s));
  if (const auto shortage = session_shortage(last_turn(s).tools().settings(), used_tokens(s),
                                             s.turns_size(), tokens)) {
    fail_turn(d, t.turn(), failure("budget_exhausted", shortage_text(*shortage)), context.now_ms());
    d.reply.set_status(v1::FAILED);
    return;
  }
  ask_budget(d, self, t.turn(), tokens, t.requested_by(), context);
}

void record(Steps& steps, std::uint32_t turn, const JudgedCall& judged, std::int64_t now_ms) {
  v1::SessionEvent decided;
  decided.mutable_policy_decided()->set_turn(turn);
  *decided.mutable_policy_decided()->mutable_decision() = judged.decision;
  decided.mutable_policy_decided()->set_tool_call_id(judged.call.call_id());
  steps.add(decided);
  v1::SessionEvent e;
  const auto fill = [&](auto* event) {
    event->set_turn(turn);
    *event->mutable_call() = judged.call;
    event->set_at_ms(now_ms);
  };
  if (judged.call.status() == v1::CALL_REQUESTED)
    fill(e.mutable_tool_call_requested());
  else if (judged.call.status() == v1::CALL_AWAITS_APPROVAL)
    fill(e.mutable_tool_approval_requested());
  else
    fill(e.mutable_tool_call_denied());
  steps.add(e);
}

struct Found {
  const v1::Turn* turn = nullptr;
  const v1::ToolCall* call = nullptr;
};
Found find_call(const v1::SessionState& s, const std::string& call_id) {
  for (const auto& turn : s.turns())
    for (const auto& round : turn.tool_rounds())
      for (const auto& call : round.calls())
        if (call.call_id() == call_id) return {&turn, &call};
  return {};
}

// Why a result for this call is not taken; nothing where it is.
Status check_result(const Found& found, const v1::SubmitToolResult& c) {
  switch (found.call->status()) {
    case v1::CALL_REQUESTED:
      break;
    case v1::CALL_ANSWERED:
      return fail(Code::kConflict, "the call has another result already");
    case v1::CALL_AWAITS_APPROVAL:
      return fail(Code::kConflict, "the call waits for approval " + found.call->approval_id() +
                                       "; it was not handed out");
    case v1::CALL_ABANDONED:
      return fail(Code::kConflict, "the turn ended before this result came");
    default:
      return fail(Code::kConflict, "the call was denied; it was never handed out");
  }
  if (c.output().size() > kMaxResultBytes)
    return fail(Code::kInvalidArgument, "output is over 32768 bytes", "body.output");
  const std::size_t used = tool_bytes(*found.turn);
  if (used + c.output().size() > kMaxTurnToolBytes)
    return fail(Code::kInvalidArgument,
                "output: " + std::to_string(kMaxTurnToolBytes - std::min(used, kMaxTurnToolBytes)) +
                    " of 65536 bytes are left for this turn's arguments and results",
                "body.output");
  return {};
}

}  // namespace

std::size_t tool_bytes(const v1::Turn& t) {
  std::size_t bytes = 0;
  for (const auto& round : t.tool_rounds())
    for (const auto& call : round.calls()) bytes += call.arguments().size() + call.output().size();
  return bytes;
}

std::int64_t tool_tokens(const v1::Turn& t) {
  constexpr std::size_t kPerCall = 100;  // ids, roles, a denial's text
  std::size_t bytes = tool_bytes(t) + static_cast<std::size_t>(definition_bytes(t.tools()));
  for (const auto& round : t.tool_rounds())
    bytes += round.said().size() + kPerCall * static_cast<std::size_t>(round.calls_size() + 1);
  return static_cast<std::int64_t>(bytes / 3);
}

v1::TokenUsage usage_with(const v1::Turn& t, const v1::ModelAnswer& answer) {
  v1::TokenUsage usage = answer.usage();
  if (t.tool_rounds_size() == 0) return usage;
  usage.set_prompt_tokens(t.usage().prompt_tokens() + usage.prompt_tokens());
  usage.set_completion_tokens(t.usage().completion_tokens() + usage.completion_tokens());
  usage.set_estimated(t.usage().estimated() || usage.estimated());
  return usage;
}

bool asks_for_tools(const v1::Turn& t, const v1::ModelAnswer& answer) {
  return t.tools().tools_size() > 0 && answer.tool_calls_size() > 0;
}

Decided tools_asked(const ActorKey& self, const v1::SessionState& s, const v1::ModelAnswer& answer,
                    const v1::Context& context) {
  const v1::Turn t = last_turn(s);
  Decided d = no_change(s);
  settle_call(d, s, t, answer.usage());
  auto* answered = d.events.emplace_back().mutable_model_answered();
  answered->set_turn(t.turn());
  *answered->mutable_answer() = answer;
  if (t.tool_rounds_size() >= kMaxToolRounds) {
    fail_turn(
        d, t.turn(),
        failure("tool_rounds_exceeded", "the model asked for tools more than " +
                                            std::to_string(kMaxToolRounds) + " times in one turn"),
        context.now_ms());
    d.reply.set_status(v1::FAILED);
    return d;
  }
  Steps steps(d, s);
  std::size_t used = tool_bytes(t);
  for (int i = 0; i < answer.tool_calls_size(); ++i) {
    const auto judged =
        judge_call({self, t.tools(), t.decision().input(), s.constitution(), self.id, s.model()},
                   answer.tool_calls(i), static_cast<std::uint32_t>(i), used, context);
    used += judged.call.arguments().size();
    record(steps, t.turn(), judged, context.now_ms());
    if (judged.call.status() == v1::CALL_AWAITS_APPROVAL)
      ask_person(d, self, s, t, judged.call, context);
  }
  proceed(d, steps, self, context);
  return d;
}

Result<Decided> tool_result(const ActorKey& self, const v1::SessionState& s,
                            const v1::SubmitToolResult& c, const v1::Context& context) {
  if (s.session_id().empty()) return fail(Code::kNotFound, "Session not found");
  const Found found = find_call(s, c.call_id());
  if (!found.call) return fail(Code::kNotFound, "Tool call not found");
  if (found.call->status() == v1::CALL_ANSWERED && found.call->output() == c.output() &&
      found.call->is_error() == c.is_error())
    return no_change(s);
  if (auto ok = check_result(found, c); !ok) return tl::unexpected(ok.error());
  Decided d = no_change(s);
  Steps steps(d, s);
  v1::SessionEvent e;
  auto* answered = e.mutable_tool_call_answered();
  answered->set_turn(found.turn->turn());
  answered->set_call_id(c.call_id());
  answered->set_output(c.output());
  answered->set_is_error(c.is_error());
  answered->set_answered_by(context.principal().subject());
  answered->set_at_ms(context.now_ms());
  steps.add(e);
  proceed(d, steps, self, context);
  return d;
}

namespace {

// Whose words the turn is: who asked for it, and who edited it.
bool is_of_the_turn(const v1::Turn& t, const std::string& person) {
  return person == t.requested_by() || (!t.edited_by().empty() && person == t.edited_by());
}

}  // namespace

bool tool_waits_for(const v1::SessionState& s, const std::string& approval_id) {
  if (s.turns_size() == 0 || last_turn(s).stage() != v1::AWAITING_TOOLS) return false;
  const auto& calls = last_round(last_turn(s)).calls();
  return std::any_of(calls.begin(), calls.end(), [&](const auto& call) {
    return call.status() == v1::CALL_AWAITS_APPROVAL && call.approval_id() == approval_id;
  });
}

Decided tool_person_decided(const ActorKey& self, const v1::SessionState& s,
                            const v1::SessionApprovalDecided& c, const v1::Context& context) {
  Decided d = no_change(s);
  const v1::Turn& t = last_turn(s);
  for (const auto& waiting : last_round(t).calls()) {
    if (waiting.status() != v1::CALL_AWAITS_APPROVAL || waiting.approval_id() != c.approval_id())
      continue;
    v1::SessionEvent e;
    v1::ToolCall call = waiting;
    if (c.approved() && c.action_hash() == waiting.action_hash()) {
      if (is_of_the_turn(t, c.decided_by())) {
        reopen_approval(d, self, waiting.approval_id(), waiting.action_hash(),
                        failure("approval_by_requester",
                                "who asked for the turn or edited it may not approve its calls; "
                                "another person must"));
        return d;
      }
      if (!approved_call_may_start(d, self, s, t, waiting, c.terms(), context)) return d;
      call.set_decision_id(d.events.back().policy_decided().decision().decision_id());
      call.set_status(v1::CALL_REQUESTED);
      call.set_approved_by(c.decided_by());
      auto* requested = e.mutable_tool_call_requested();
      requested->set_turn(t.turn());
      *requested->mutable_call() = call;
      requested->set_at_ms(context.now_ms());
    } else {
      call.set_status(v1::CALL_DENIED);
      *call.mutable_denial() = failure(
          "approval_rejected", "approval " + c.approval_id() + " was rejected by " +
                                   c.decided_by() + (c.reason().empty() ? "" : ": " + c.reason()));
      auto* denied = e.mutable_tool_call_denied();
      denied->set_turn(t.turn());
      *denied->mutable_call() = call;
      denied->set_at_ms(context.now_ms());
    }
    Steps steps(d, s);
    steps.add(e);
    proceed(d, steps, self, context);
    return d;
  }
  return d;
}

Decided tools_overdue(const v1::SessionState& s, const v1::EffectOutcome& outcome,
                      const v1::Context& context) {
  Decided d = no_change(s);
  if (s.status() != v1::WAITING_TOOLS || outcome.effect_id() != timer_id(last_turn(s))) return d;
  const v1::Turn& t = last_turn(s);
  std::string missing;
  for (const auto& call : last_round(t).calls())
    if (call.status() == v1::CALL_REQUESTED)
      missing += (missing.empty() ? "" : ", ") + call.name() + " (" + call.call_id() + ")";
  fail_turn(d, t.turn(), failure("tool_timeout", "no result came in time for " + missing),
            context.now_ms());
  d.reply.set_status(v1::FAILED);
  return d;
}

void withdraw_calls(Decided& d, const v1::SessionState& s, const v1::Turn& t,
                    const std::string& reason) {
  if (t.stage() != v1::AWAITING_TOOLS) return;
  for (const auto& call : last_round(t).calls()) {
    if (call.status() != v1::CALL_AWAITS_APPROVAL) continue;
    v1::ApprovalsCommand c;
    c.mutable_withdraw_approval()->set_approval_id(call.approval_id());
    c.mutable_withdraw_approval()->set_reason(reason);
    d.sends.push_back({approvals_key(s.tenant_id()), deterministic_bytes(c)});
  }
}

std::vector<Effect> tool_effects(const v1::Turn& t) {
  if (t.stage() != v1::AWAITING_TOOLS || t.tool_rounds_size() == 0) return {};
  const std::int64_t due_ms = last_round(t).deadline_ms();
  if (due_ms == 0) return {};
  Effect timer;
  timer.effect_id = timer_id(t);
  timer.kind = "timer";
  timer.not_before_ms = due_ms;
  return {timer};
}

}  // namespace soma::actors
