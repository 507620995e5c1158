// Approvals: one register per tenant of actions that wait for a second key.
#pragma once

#include "actors/decider.h"
#include "soma/v1/approval.pb.h"

namespace soma::actors {

// Pure and stateless; see actors/decider.h. The actor that asks keeps its action and waits in a
// state; the register tells it what was decided, once.
struct ApprovalsDecider {
  static constexpr std::string_view kName = "approvals";
  using State = v1::ApprovalsState;
  using Command = v1::ApprovalsCommand;
  using Event = v1::ApprovalsEvent;
  using Reply = v1::ApprovalsReply;
  using Decided = Decision<Event, Reply>;

  static Result<Decided> decide(const ActorKey& self, const State& state, const Command& command,
                                const v1::Context& context);
  static void evolve(State& state, const Event& event);
  // A timer per pending approval: it expires.
  static std::vector<Effect> effects(const ActorKey& self, const State& state);
  static std::string event_type(const Event& event);
};

ActorKey approvals_key(const std::string& tenant);

// A second key that `self` needs for an action in the name of whoever commanded it, for `open_ms`
// from now; and what sends it to the tenant's register: that of kGlobalTenant for what holds for
// all tenants.
v1::Approval approval_for(const ActorKey& self, const v1::Context& context, std::int64_t open_ms);
OutSend ask(const ActorKey& self, const v1::Approval& approval);

}  // namespace soma::actors
