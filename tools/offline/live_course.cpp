// Two deciders in memory, and an outside made of the record, a budget and a model.
#include "tools/offline/live_course.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "actors/actor_type.h"
#include "actors/model/model.h"
#include "actors/session/session.h"
#include "runtime/effects/runner.h"
#include "soma/v1/tenant.pb.h"
#include "tools/cli/interrupt.h"

namespace soma::cli {

namespace {

using Pool = actors::ModelDecider;
using Session = actors::SessionDecider;

template <typename Clock>
std::int64_t ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now().time_since_epoch())
      .count();
}

std::int64_t may_take(const v1::ModelRequest& request) {
  std::size_t bytes = 0;
  for (const auto& m : request.messages()) {
    bytes += m.content().size();
    for (const auto& c : m.tool_calls()) bytes += c.name().size() + c.arguments().size();
  }
  for (const auto& t : request.tools())
    bytes += t.name().size() + t.description().size() + t.parameters_json().size();
  return static_cast<std::int64_t>(bytes / 3 + request.sampling().max_tokens());
}

v1::BudgetShortage shortage(std::int64_t budget, std::int64_t left, std::int64_t wanted) {
  v1::BudgetShortage s;
  s.set_scope("what-if");
  s.set_unit("tokens");
  s.set_window("total");
  s.set_limit(budget);
  s.set_remaining(left);
  s.set_wanted(wanted);
  return s;
}

}  // namespace

LiveCourse::LiveCourse(ActorKey session, v1::SessionState state, std::int64_t budget_tokens,
                       Record record, Ask ask)
    : key_(std::move(session)),
      state_(std::move(state)),
      budget_(budget_tokens),
      record_(std::move(record)),
      ask_(std::move(ask)) {}

std::int64_t LiveCourse::now_ms() const {
  return base_.now_ms() + ms<std::chrono::steady_clock>() - base_steady_ms_;
}

v1::Context LiveCourse::next_context() {
  v1::Context c = base_;
  c.set_now_ms(now_ms());
  c.set_command_id(base_.command_id() + "/live/" + std::to_string(++commands_));
  return c;
}

void LiveCourse::begin(const v1::Context& context) {
  base_ = context;
  base_steady_ms_ = ms<std::chrono::steady_clock>();
}

void LiveCourse::go_on(std::vector<actors::OutSend> sends, const v1::Context& context) {
  begin(context);
  for (auto& s : sends) sends_.push_back(std::move(s));
  settle();
}

void LiveCourse::tell(const v1::SessionCommand& command, const v1::Context& context) {
  begin(context);
  decide(command, context);
  settle();
}

void LiveCourse::decide(const v1::SessionCommand& command, const v1::Context& context) {
  auto made = Session::decide(key_, state_, command, context);
  if (!made) {
    const auto* field = command.GetDescriptor()->FindFieldByNumber(command.kind_case());
    report_.refused.push_back(
        {field ? std::string(field->name()) : std::string(), made.error().message});
    return;
  }
  for (const auto& event : made->events) {
    Session::evolve(state_, event);
    report_.events.push_back(Session::event_type(event));
  }
  for (auto& s : made->sends) sends_.push_back(std::move(s));
}

void LiveCourse::settle() {
  for (;;) {
    if (!sends_.empty()) {
      const auto send = std::move(sends_.front());
      sends_.pop_front();
      deliver(send);
    } else if (!recall() && !call_models() && !give_result()) {
      return;
    }
  }
}

void LiveCourse::deliver(const actors::OutSend& send) {
  if (send.to.type == "tenant") {
    v1::TenantCommand command;
    if (command.ParseFromString(send.command) && command.has_reserve_budget())
      reserve(command.reserve_budget());
  } else if (send.to.type == "model") {
    v1::ModelCommand command;
    if (command.ParseFromString(send.command)) pool(send.to, command);
  } else if (send.to.type == "session") {
    v1::SessionCommand command;
    if (command.ParseFromString(send.command)) decide(command, next_context());
  }
}

void LiveCourse::reserve(const v1::ReserveBudget& wanted) {
  v1::SessionCommand answer;
  if (wanted.tokens() <= left()) {
    answer.mutable_budget_granted()->set_reservation_id(wanted.reservation_id());
    answer.mutable_budget_granted()->set_tokens(wanted.tokens());
    answer.mutable_budget_granted()->set_remaining_tokens(left());
  } else {
    answer.mutable_budget_denied()->set_reservation_id(wanted.reservation_id());
    answer.mutable_budget_denied()->set_remaining_tokens(left());
    *answer.mutable_budget_denied()->mutable_shortage() =
        shortage(budget_, left(), wanted.tokens());
    report_.budget_ended = true;
  }
  decide(answer, next_context());
}

bool LiveCourse::recall() {
  const auto effects = Session::effects(key_, state_);
  const auto wanted = std::find_if(effects.begin(), effects.end(),
                                   [](const auto& e) { return e.kind == "memory.recall"; });
  if (wanted == effects.end()) return false;
  const actors::Effect& effect = *wanted;
  v1::SessionCommand command;
  auto* outcome = command.mutable_effect_outcome();
  outcome->set_effect_id(effect.effect_id);
  outcome->set_attempt(effect.attempt);
  if (const auto it = record_.recalls.find(effect.request); it != record_.recalls.end()) {
    outcome->set_result(it->second);
  } else {
    ++report_.recalls_unknown;
    v1::RecallResult nothing;
    nothing.set_degraded(true);
    nothing.set_degraded_reason("the record does not say what was recalled for this");
    outcome->set_result(nothing.SerializeAsString());
  }
  decide(command, next_context());
  return true;
}

bool LiveCourse::give_result() {
  if (state_.turns_size() == 0) return false;
  const auto& rounds = state_.turns(state_.turns_size() - 1).tool_rounds();
  if (rounds.empty()) return false;
  for (const auto& call : rounds[rounds.size() - 1].calls()) {
    const auto it = record_.results.find({call.name(), call.arguments()});
    if (call.status() != v1::CALL_REQUESTED || it == record_.results.end()) continue;
    v1::SessionCommand command;
    *command.mutable_submit_tool_result() = it->second;
    command.mutable_submit_tool_result()->set_call_id(call.call_id());
    const auto refused = report_.refused.size();
    decide(command, next_context());
    return report_.refused.size() == refused;
  }
  return false;
}

void LiveCourse::pool(const ActorKey& key, const v1::ModelCommand& command) {
  auto& [where, state] = pools_[to_string(key)];
  where = key;
  auto made = Pool::decide(key, state, command, next_context());
  if (!made) return;
  for (const auto& event : made->events) Pool::evolve(state, event);
  for (auto& s : made->sends) sends_.push_back(std::move(s));
}

bool LiveCourse::call_models() {
  for (const auto& [name, known] : pools_) {
    const auto effects = Pool::effects(known.first, known.second);
    if (effects.empty()) continue;
    const actors::Effect& effect = effects.front();
    auto answer = call(effect);
    v1::ModelCommand command;
    auto* outcome = command.mutable_effect_outcome();
    outcome->set_effect_id(effect.effect_id);
    outcome->set_attempt(effect.attempt);
    if (answer)
      outcome->set_result(answer->SerializeAsString());
    else
      *outcome->mutable_failure() = runtime::to_failure(answer.error());
    const ActorKey key = known.first;
    pool(key, command);
    // Ended without an answer, after all that the pool would try.
    if (!answer && !report_.budget_ended && Pool::effects(key, pools_[name].second).empty()) {
      report_.failed = true;
      report_.failure = answer.error();
    }
    return true;
  }
  return false;
}

Result<v1::ModelAnswer> LiveCourse::over_budget(std::int64_t wanted) {
  report_.budget_ended = true;
  return soma::fail(Code::kBudgetExhausted, "the what-if's budget of " + std::to_string(budget_) +
                                                " tokens has " + std::to_string(left()) +
                                                " left and " + std::to_string(wanted) +
                                                " may be needed");
}

Result<v1::ModelAnswer> LiveCourse::call(const actors::Effect& effect) {
  v1::ModelRequest request;
  if (!request.ParseFromString(effect.request))
    return soma::fail(Code::kInternal, "the model's request does not parse");
  const std::int64_t wanted = may_take(request);
  if (wanted > left()) return over_budget(wanted);
  while (now_ms() < effect.not_before_ms && !interrupted())
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  request.set_call_id(effect.effect_id);
  if (request.deadline_ms() > 0)  // in the record's time
    request.set_deadline_ms(request.deadline_ms() - now_ms() + ms<std::chrono::system_clock>());
  auto answer = ask_(request);
  if (!answer && answer.error().code == Code::kUnavailable) return answer;  // it never went out
  LiveReport::Call made;
  made.turn = static_cast<std::uint32_t>(state_.turns_size());
  made.attempt = effect.attempt;
  made.asked = request.model();
  if (answer) {
    answer->set_attempt(effect.attempt);
    made.model = answer->model();
    made.provider = answer->provider();
    made.usage = answer->usage();
    made.finish_reason = answer->finish_reason();
    made.latency_ms = answer->latency_ms();
    report_.tokens_used += static_cast<std::int64_t>(answer->usage().prompt_tokens() +
                                                     answer->usage().completion_tokens());
  } else {
    made.error = code_name(answer.error().code);
    report_.tokens_used += wanted;
  }
  report_.calls.push_back(std::move(made));
  return answer;
}

}  // namespace soma::cli
