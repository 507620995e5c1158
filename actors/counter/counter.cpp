// The counter's rules.
#include "actors/counter/counter.h"

#include <stdexcept>

namespace soma::actors {

namespace {

using Decided = CounterDecider::Decided;

Result<Decided> add(const v1::CounterState& state, const v1::Add& command) {
  std::int64_t sum = 0;
  if (__builtin_add_overflow(state.value(), command.amount(), &sum))
    return fail(Code::kInvalidArgument, "the sum would need more than 64 bits", "amount");
  Decided d;
  d.events.emplace_back().mutable_added()->set_amount(command.amount());
  d.reply.set_value(sum);
  return d;
}

Result<Decided> transfer(const v1::CounterState& state, const v1::Transfer& command) {
  if (command.amount() < 0)
    return fail(Code::kInvalidArgument, "amount must be 0 or more", "amount");
  if (command.amount() > state.value())
    return fail(Code::kConflict, "the counter holds less than amount", "amount");
  Decided d;
  auto* event = d.events.emplace_back().mutable_transferred();
  *event->mutable_to() = command.to();
  event->set_amount(command.amount());
  v1::CounterCommand credit;
  credit.mutable_add()->set_amount(command.amount());
  d.sends.push_back({to_key(command.to()), credit.SerializeAsString()});
  d.reply.set_value(state.value() - command.amount());
  return d;
}

// Timers and calls are effects of one actor: no id names two.
template <typename Others>
Status check_id(const std::string& id, const Others& others, const char* field) {
  if (id.empty()) return fail(Code::kInvalidArgument, "must not be empty", field);
  if (others.contains(id))
    return fail(Code::kConflict, "a timer and a call cannot have one id", field);
  return {};
}

Result<Decided> outcome(const v1::CounterState& state, const v1::EffectOutcome& o,
                        const v1::Context& context) {
  Decided d;
  if (state.timers().contains(o.effect_id())) {
    auto* fired = d.events.emplace_back().mutable_timer_fired();
    fired->set_timer_id(o.effect_id());
    fired->set_at_ms(context.now_ms());
  } else if (state.calls().contains(o.effect_id())) {
    auto* settled = d.events.emplace_back().mutable_call_settled();
    settled->set_call_id(o.effect_id());
    settled->set_outcome(o.has_result() ? "done" : o.has_failure() ? "failed" : "unknown");
  }
  d.reply.set_value(state.value());
  return d;
}

Result<Decided> resolve(const v1::CounterState& state, const v1::ResolveEffect& r,
                        const v1::Context& context) {
  if (!state.unknown_calls().contains(r.effect_id()))
    return fail(Code::kConflict,
                "effect " + r.effect_id() + " is not unknown: only an unknown outcome is settled",
                "effect_id");
  if (r.outcome() == v1::SETTLEMENT_UNSPECIFIED)
    return fail(Code::kInvalidArgument, "outcome must be done, failed or retry", "outcome");
  if (r.reason().empty())
    return fail(Code::kInvalidArgument, "reason must say how the outcome is known", "reason");
  Decided d;
  auto* resolved = d.events.emplace_back().mutable_call_resolved();
  resolved->set_call_id(r.effect_id());
  resolved->set_outcome(r.outcome());
  resolved->set_reason(r.reason());
  resolved->set_resolved_by(context.principal().subject());
  resolved->set_at_ms(context.now_ms());
  d.reply.set_value(state.value());
  return d;
}

}  // namespace

Result<Decided> CounterDecider::decide(const ActorKey&, const State& state, const Command& command,
                                       const v1::Context& context) {
  Decided d;
  d.reply.set_value(state.value());
  switch (command.kind_case()) {
    case Command::kAdd:
      return add(state, command.add());
    case Command::kTransfer:
      return transfer(state, command.transfer());
    case Command::kArmTimer:
      if (auto ok = check_id(command.arm_timer().timer_id(), state.calls(), "timer_id"); !ok)
        return tl::unexpected(ok.error());
      *d.events.emplace_back().mutable_timer_armed()->mutable_timer_id() =
          command.arm_timer().timer_id();
      d.events.back().mutable_timer_armed()->set_due_ms(command.arm_timer().due_ms());
      return d;
    case Command::kCallOut:
      if (auto ok = check_id(command.call_out().call_id(), state.timers(), "call_id"); !ok)
        return tl::unexpected(ok.error());
      if (state.unknown_calls().contains(command.call_out().call_id()))
        return fail(Code::kConflict, "the outcome of this call is unknown: settle it first",
                    "call_id");
      d.events.emplace_back().mutable_call_placed()->set_call_id(command.call_out().call_id());
      return d;
    case Command::kExplode:
      throw std::runtime_error("the counter was told to explode");
    case Command::kEffectOutcome:
      return outcome(state, command.effect_outcome(), context);
    case Command::kResolveEffect:
      return resolve(state, command.resolve_effect(), context);
    case Command::KIND_NOT_SET:
      break;
  }
  return fail(Code::kInvalidArgument, "command has no case", "command");
}

void CounterDecider::evolve(State& s, const Event& e) {
  switch (e.kind_case()) {
    case Event::kAdded:
      s.set_value(s.value() + e.added().amount());
      return;
    case Event::kTransferred:
      s.set_value(s.value() - e.transferred().amount());
      return;
    case Event::kTimerArmed:
      (*s.mutable_timers())[e.timer_armed().timer_id()] = e.timer_armed().due_ms();
      return;
    case Event::kTimerFired:
      s.mutable_timers()->erase(e.timer_fired().timer_id());
      return;
    case Event::kCallPlaced:
      (*s.mutable_calls())[e.call_placed().call_id()] = 1;
      return;
    case Event::kCallSettled: {
      const std::string& id = e.call_settled().call_id();
      if (e.call_settled().outcome() == "unknown")
        (*s.mutable_unknown_calls())[id] = s.calls().contains(id) ? s.calls().at(id) : 1;
      s.mutable_calls()->erase(id);
      return;
    }
    case Event::kCallResolved: {
      const auto it = s.unknown_calls().find(e.call_resolved().call_id());
      if (it == s.unknown_calls().end()) return;
      if (e.call_resolved().outcome() == v1::SETTLEMENT_RETRY)
        (*s.mutable_calls())[it->first] = it->second + 1;
      s.mutable_unknown_calls()->erase(e.call_resolved().call_id());
      return;
    }
    case Event::KIND_NOT_SET:
      return;
  }
}

std::vector<Effect> CounterDecider::effects(const ActorKey&, const State& s) {
  std::vector<Effect> out;
  for (const auto& [id, due] : s.timers())
    out.push_back({id, "timer", EffectClass::kIdempotent, 1, due, 0, {}});
  for (const auto& [id, attempt] : s.calls())
    out.push_back({id, "counter.call", EffectClass::kAtMostOnce, attempt, 0, 0, id});
  for (const auto& [id, attempt] : s.unknown_calls())
    out.push_back({id, "counter.call", EffectClass::kAtMostOnce, attempt, 0, 0, id, false,
                   "the node stopped, or the answer was lost, while it may have been running"});
  return out;
}

std::string CounterDecider::event_type(const Event& e) {
  switch (e.kind_case()) {
    case Event::kAdded:
      return "counter.added";
    case Event::kTransferred:
      return "counter.transferred";
    case Event::kTimerArmed:
      return "counter.timer.armed";
    case Event::kTimerFired:
      return "counter.timer.fired";
    case Event::kCallPlaced:
      return "counter.call.placed";
    case Event::kCallSettled:
      return "counter.call.settled";
    case Event::kCallResolved:
      return "counter.call.resolved";
    case Event::KIND_NOT_SET:
      break;
  }
  return {};
}

}  // namespace soma::actors
