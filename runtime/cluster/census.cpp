// There and back, member by member.
#include "runtime/cluster/census.h"

#include "runtime/cluster/peers.h"

namespace soma::runtime {

namespace {

Result<v1::ClusterAnswer> bounded(v1::ClusterAnswer answer) {
  if (answer.ByteSizeLong() > kClusterBodyBytes / 2)
    return fail(Code::kTooLarge,
                "one partition has more of them than nodes tell each other; ask its owner");
  return answer;
}

}  // namespace

Result<v1::ClusterAnswer> census_answer(const std::vector<Host::PendingEffect>& effects) {
  v1::ClusterAnswer answer;
  for (const auto& e : effects) {
    auto* out = answer.add_effects();
    *out->mutable_actor() = actors::to_ref(e.actor);
    out->set_effect_id(e.effect.effect_id);
    out->set_kind(e.effect.kind);
    out->set_effect_class(static_cast<std::uint32_t>(e.effect.effect_class));
    out->set_attempt(e.effect.attempt);
    out->set_not_before_ms(e.effect.not_before_ms);
    out->set_deadline_ms(e.effect.deadline_ms);
    out->set_unknown(e.effect.unknown);
    out->set_request_bytes(e.request_bytes);
    out->set_state(e.state);
    out->set_since_ms(e.since_ms);
  }
  return bounded(std::move(answer));
}

Result<v1::ClusterAnswer> census_answer(const std::vector<Host::ParkedActor>& parked) {
  v1::ClusterAnswer answer;
  for (const auto& p : parked) {
    auto* out = answer.add_parked();
    *out->mutable_actor() = actors::to_ref(p.actor);
    out->set_reason(p.reason);
    for (const auto& c : p.commands) {
      auto* command = out->add_commands();
      *command->mutable_context() = c.context;
      command->set_command(c.command);
    }
  }
  return bounded(std::move(answer));
}

std::vector<Host::PendingEffect> effects_of(const v1::ClusterAnswer& answer) {
  std::vector<Host::PendingEffect> out;
  for (const auto& e : answer.effects()) {
    auto& p = out.emplace_back();
    p.actor = actors::to_key(e.actor());
    p.effect.effect_id = e.effect_id();
    p.effect.kind = e.kind();
    p.effect.effect_class = static_cast<actors::EffectClass>(e.effect_class());
    p.effect.attempt = e.attempt();
    p.effect.not_before_ms = e.not_before_ms();
    p.effect.deadline_ms = e.deadline_ms();
    p.effect.unknown = e.unknown();
    p.request_bytes = e.request_bytes();
    p.state = e.state();
    p.since_ms = e.since_ms();
  }
  return out;
}

std::vector<Host::ParkedActor> parked_of(const v1::ClusterAnswer& answer) {
  std::vector<Host::ParkedActor> out;
  for (const auto& p : answer.parked()) {
    auto& actor = out.emplace_back();
    actor.actor = actors::to_key(p.actor());
    actor.reason = p.reason();
    for (const auto& c : p.commands()) actor.commands.push_back({c.context(), c.command()});
  }
  return out;
}

}  // namespace soma::runtime
