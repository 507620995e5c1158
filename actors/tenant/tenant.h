// Tenant: settings and token budget. Never lets spent + reserved exceed the budget.
#pragma once

#include "actors/decider.h"
#include "actors/version_tag.h"
#include "soma/v1/tenant.pb.h"

namespace soma::actors {

// Pure and stateless; see actors/decider.h.
struct TenantDecider {
  static constexpr std::string_view kName = "tenant";
  using State = v1::TenantState;
  using Command = v1::TenantCommand;
  using Event = v1::TenantEvent;
  using Reply = v1::TenantReply;
  using Decided = Decision<Event, Reply>;

  static Result<Decided> decide(const ActorKey& self, const State& state, const Command& command,
                                const v1::Context& context);
  static void evolve(State& state, const Event& event);
  static std::string event_type(const Event& event);
};

// The tenant's one settings and budget actor.
ActorKey tenant_key(const std::string& tenant);
// Settings as they apply: those of the state, or the defaults when none were put.
v1::TenantSettings effective_settings(const v1::TenantState& state);

}  // namespace soma::actors
