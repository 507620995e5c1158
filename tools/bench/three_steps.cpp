// The workflow's rules.
#include "tools/bench/three_steps.h"

#include "actors/typed_actor.h"

namespace soma::bench {

namespace {

void place(StepsDecider::Decided& d, std::int64_t step) {
  d.events.emplace_back().mutable_call_placed()->set_call_id(std::to_string(step));
}

void settle(const v1::CounterState& state, const v1::EffectOutcome& o, StepsDecider::Decided& d) {
  if (!state.calls().contains(o.effect_id())) return;  // settled before
  auto* settled = d.events.emplace_back().mutable_call_settled();
  settled->set_call_id(o.effect_id());
  settled->set_outcome(o.has_result() ? "done" : "failed");
  if (!o.has_result()) return;
  const std::int64_t done = state.value() + 1;
  d.reply.set_value(done);
  if (done < StepsDecider::kSteps)
    place(d, done + 1);
  else
    d.events.emplace_back().mutable_added()->set_amount(done);
}

}  // namespace

Result<StepsDecider::Decided> StepsDecider::decide(const ActorKey&, const State& state,
                                                   const Command& command, const v1::Context&) {
  Decided d;
  d.reply.set_value(state.value());
  if (command.has_effect_outcome()) {
    settle(state, command.effect_outcome(), d);
  } else if (!command.has_call_out()) {
    return fail(Code::kInvalidArgument, "a workflow is begun by call_out", "command");
  } else if (state.value() > 0 || !state.calls().empty()) {
    return fail(Code::kConflict, "the workflow has begun", "command");
  } else {
    place(d, 1);
  }
  return d;
}

void StepsDecider::evolve(State& s, const Event& e) {
  if (e.has_call_placed()) {
    (*s.mutable_calls())[e.call_placed().call_id()] = 1;
  } else if (e.has_call_settled()) {
    s.mutable_calls()->erase(e.call_settled().call_id());
    if (e.call_settled().outcome() == "done") s.set_value(s.value() + 1);
  }
}

std::vector<actors::Effect> StepsDecider::effects(const ActorKey&, const State& s) {
  std::vector<actors::Effect> out;
  for (const auto& [id, attempt] : s.calls())
    out.push_back(
        {id, "bench.step", actors::EffectClass::kIdempotent, attempt, 0, 0, id, false, {}});
  return out;
}

std::string StepsDecider::event_type(const Event& e) {
  if (e.has_call_placed()) return "steps.placed";
  if (e.has_call_settled()) return "steps.settled";
  return e.has_added() ? kEnded : "";
}

std::unique_ptr<actors::Catalog> steps_catalog() {
  std::vector<std::unique_ptr<actors::ActorType>> types;
  types.push_back(std::make_unique<actors::TypedActor<StepsDecider>>());
  return std::make_unique<actors::Catalog>(std::move(types));
}

}  // namespace soma::bench
