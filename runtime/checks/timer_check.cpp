// Due times of pending timers against the time of their outcome.
#include "runtime/checks/timer_check.h"

namespace soma::checks {

const v1::EffectOutcome* outcome_of(const actors::Message& command) {
  const auto* field = command.GetDescriptor()->FindFieldByName("effect_outcome");
  const auto* reflection = command.GetReflection();
  if (!field || !reflection->HasField(command, field)) return nullptr;
  return static_cast<const v1::EffectOutcome*>(&reflection->GetMessage(command, field));
}

void TimerCheck::entry(const EntryView& view, Findings& findings) {
  if (!view.entry.parked().empty()) return;
  auto command = view.type.new_command();
  if (!command->ParseFromString(view.entry.command())) return;  // the decide check says so
  const auto* outcome = outcome_of(*command);
  if (!outcome) return;
  // When it fired; the command may be decided after the clock was set back.
  const std::int64_t at =
      outcome->finished_ms() ? outcome->finished_ms() : view.entry.context().now_ms();
  for (const auto& effect : view.type.effects(view.actor, view.state))
    if (effect.kind == "timer" && effect.effect_id == outcome->effect_id() &&
        effect.not_before_ms > at)
      findings.push_back({"I11", view.frame.position,
                          to_string(view.actor) + ": timer " + effect.effect_id + " fired " +
                              std::to_string(effect.not_before_ms - at) + " ms early"});
}

}  // namespace soma::checks
