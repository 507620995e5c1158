// The kill switch's rules: a change is recorded, the same again is none.
#include "actors/gateway/gateway.h"

namespace soma::actors {

namespace {
constexpr std::size_t kMaxReasonBytes = 1000;
}

using Decided = GatewayDecider::Decided;

ActorKey gateway_key() { return {"$system", "gateway", "gateway", {}}; }

Result<Decided> GatewayDecider::decide(const ActorKey&, const State& s, const Command& c,
                                       const v1::Context& context) {
  Decided d;
  *d.reply.mutable_state() = s;
  switch (c.kind_case()) {
    case Command::kSetKillSwitch: {
      const auto& set = c.set_kill_switch();
      if (set.reason().size() > kMaxReasonBytes)
        return fail(Code::kInvalidArgument, "reason is over 1000 bytes", "body.reason");
      if (set.enabled() == s.kill_switch()) return d;
      auto* changed = d.events.emplace_back().mutable_kill_switch_changed();
      changed->set_enabled(set.enabled());
      changed->set_reason(set.reason());
      changed->set_changed_by(context.principal().tenant() + "/" + context.principal().subject());
      changed->set_at_ms(context.now_ms());
      evolve(*d.reply.mutable_state(), d.events.back());
      d.reply.set_changed(true);
      return d;
    }
    case Command::kEffectOutcome:
      return d;  // it has no effects
    case Command::KIND_NOT_SET:
      break;
  }
  return fail(Code::kInvalidArgument, "command has no case", "command");
}

void GatewayDecider::evolve(State& s, const Event& e) {
  switch (e.kind_case()) {
    case Event::kKillSwitchChanged:
      s.set_kill_switch(e.kill_switch_changed().enabled());
      s.set_reason(e.kill_switch_changed().reason());
      s.set_changed_by(e.kill_switch_changed().changed_by());
      s.set_changed_ms(e.kill_switch_changed().at_ms());
      return;
    case Event::KIND_NOT_SET:
      return;
  }
}

std::vector<Effect> GatewayDecider::effects(const ActorKey&, const State&) { return {}; }

std::string GatewayDecider::event_type(const Event& e) {
  switch (e.kind_case()) {
    case Event::kKillSwitchChanged:
      return "gateway.kill_switch.changed";
    case Event::KIND_NOT_SET:
      break;
  }
  return {};
}

}  // namespace soma::actors
