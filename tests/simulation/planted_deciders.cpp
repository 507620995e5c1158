// Each leaves out one rule.
#include "tests/simulation/planted_deciders.h"

#include "soma/v1/approval.pb.h"
#include "soma/v1/constitution.pb.h"
#include "soma/v1/gateway.pb.h"
#include "soma/v1/session.pb.h"
#include "soma/v1/tenant.pb.h"

namespace soma {

using actors::ActorType;
using actors::ErasedDecision;
using actors::Message;

// The register does not know who asked.
Result<ErasedDecision> own_second_key(const ActorType& type, const ActorKey& self,
                                      const Message& state, const Message& command,
                                      const v1::Context& context) {
  if (type.name() != "approvals") return type.decide(self, state, command, context);
  v1::ApprovalsState s = static_cast<const v1::ApprovalsState&>(state);
  for (auto& [id, a] : *s.mutable_approvals()) a.clear_requested_by();
  return type.decide(self, s, command, context);
}

// A session takes every answer for a yes.
Result<ErasedDecision> rejection_ignored(const ActorType& type, const ActorKey& self,
                                         const Message& state, const Message& command,
                                         const v1::Context& context) {
  if (type.name() != "session") return type.decide(self, state, command, context);
  v1::SessionCommand c = static_cast<const v1::SessionCommand&>(command);
  if (c.has_approval_decided()) c.mutable_approval_decided()->set_approved(true);
  return type.decide(self, state, c, context);
}

// What others have reserved is not counted.
Result<ErasedDecision> limit_forgotten(const ActorType& type, const ActorKey& self,
                                       const Message& state, const Message& command,
                                       const v1::Context& context) {
  if (type.name() != "tenant") return type.decide(self, state, command, context);
  v1::TenantState s = static_cast<const v1::TenantState&>(state);
  for (auto& [counter, usage] : *s.mutable_usage()) usage.set_reserved(0);
  return type.decide(self, s, command, context);
}

// The lock is not looked at when it is asked for.
Result<ErasedDecision> lock_given_twice(const ActorType& type, const ActorKey& self,
                                        const Message& state, const Message& command,
                                        const v1::Context& context) {
  if (type.name() != "gateway") return type.decide(self, state, command, context);
  v1::GatewayState s = static_cast<const v1::GatewayState&>(state);
  if (static_cast<const v1::GatewayCommand&>(command).has_start_training()) s.clear_training();
  return type.decide(self, s, command, context);
}

// A constitution comes into force without its second key.
Result<ErasedDecision> second_key_left_out(const ActorType& type, const ActorKey& self,
                                           const Message& state, const Message& command,
                                           const v1::Context& context) {
  if (type.name() != "constitution") return type.decide(self, state, command, context);
  v1::ConstitutionCommand c = static_cast<const v1::ConstitutionCommand&>(command);
  if (c.has_load_constitution()) c.mutable_load_constitution()->set_two_keys(false);
  return type.decide(self, state, c, context);
}

// What was allowed when it was asked for is taken to be allowed when it starts.
Result<ErasedDecision> allowed_for_ever(const ActorType& type, const ActorKey& self,
                                        const Message& state, const Message& command,
                                        const v1::Context& context) {
  if (type.name() != "session") return type.decide(self, state, command, context);
  v1::SessionCommand c = static_cast<const v1::SessionCommand&>(command);
  if (c.has_approval_decided()) {
    auto* terms = c.mutable_approval_decided()->mutable_terms();
    terms->set_halted(false);
    terms->mutable_constitution()->clear_rules();
  }
  return type.decide(self, state, c, context);
}

// Anybody decides what was delegated to one.
Result<ErasedDecision> delegate_forgotten(const ActorType& type, const ActorKey& self,
                                          const Message& state, const Message& command,
                                          const v1::Context& context) {
  if (type.name() != "approvals") return type.decide(self, state, command, context);
  v1::ApprovalsState s = static_cast<const v1::ApprovalsState&>(state);
  for (auto& [id, a] : *s.mutable_approvals()) a.clear_delegated_to();
  return type.decide(self, s, command, context);
}

// The constitution of a turn is forgotten when its model asks for tools.
Result<ErasedDecision> calls_unjudged(const ActorType& type, const ActorKey& self,
                                      const Message& state, const Message& command,
                                      const v1::Context& context) {
  const auto* c =
      type.name() == "session" ? &static_cast<const v1::SessionCommand&>(command) : nullptr;
  if (!c || !c->has_call_succeeded()) return type.decide(self, state, command, context);
  v1::SessionState s = static_cast<const v1::SessionState&>(state);
  s.mutable_constitution()->clear_rules();
  return type.decide(self, s, command, context);
}

// Each reservation finds the window new.
Result<ErasedDecision> window_restarts(const ActorType& type, const ActorKey& self,
                                       const Message& state, const Message& command,
                                       const v1::Context& context) {
  if (type.name() != "tenant") return type.decide(self, state, command, context);
  v1::TenantState s = static_cast<const v1::TenantState&>(state);
  for (auto& [counter, usage] : *s.mutable_usage())
    if (usage.window_end_ms() > 0) usage.set_window_start_ms(0);
  return type.decide(self, s, command, context);
}

}  // namespace soma
