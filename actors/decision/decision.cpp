// Decided once; asked again, the recorded decision.
#include "actors/decision/decision.h"

#include "actors/policy/judge.h"

namespace soma::actors {

using Decided = DecisionDecider::Decided;

ActorKey decision_key(const std::string& tenant, const std::string& decision_id) {
  return {tenant, "decision", decision_id, {}};
}

Result<Decided> DecisionDecider::decide(const ActorKey& self, const State& s, const Command& c,
                                        const v1::Context& context) {
  Decided d;
  *d.reply.mutable_decision() = s.decision();
  switch (c.kind_case()) {
    case Command::kDecidePolicy: {
      if (s.has_decision()) return fail(Code::kConflict, "decision " + self.id + " exists");
      const auto& p = c.decide_policy();
      const Asker asker{self.tenant, &context.principal(), {}, {}};
      auto decision =
          judge(p.input(), p.mode(), self.id, p.constitution(), p.weights(), p.rules(), asker);
      if (!decision) return tl::unexpected(decision.error());
      decision->set_settings_version(p.settings_version());
      auto* evaluated = d.events.emplace_back().mutable_policy_evaluated();
      *evaluated->mutable_decision() = *decision;
      evaluated->set_mode(c.decide_policy().mode());
      evaluated->set_at_ms(context.now_ms());
      *d.reply.mutable_decision() = *decision;
      return d;
    }
    case Command::kEffectOutcome:
      return d;  // a decision has no effects
    case Command::KIND_NOT_SET:
      break;
  }
  return fail(Code::kInvalidArgument, "command has no case", "command");
}

void DecisionDecider::evolve(State& s, const Event& e) {
  switch (e.kind_case()) {
    case Event::kPolicyEvaluated:
      *s.mutable_decision() = e.policy_evaluated().decision();
      s.set_mode(e.policy_evaluated().mode());
      s.set_at_ms(e.policy_evaluated().at_ms());
      return;
    case Event::KIND_NOT_SET:
      return;
  }
}

std::string DecisionDecider::event_type(const Event& e) {
  switch (e.kind_case()) {
    case Event::kPolicyEvaluated:
      return "policy.evaluated";
    case Event::KIND_NOT_SET:
      break;
  }
  return {};
}

}  // namespace soma::actors
