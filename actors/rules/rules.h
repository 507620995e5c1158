// Rules: which policy rules are in force for a tenant, version by version.
#pragma once

#include "actors/decider.h"
#include "soma/v1/rules.pb.h"

namespace soma::actors {

// Pure and stateless; see actors/decider.h. A text that does not compile is refused, and the one in
// force stays.
struct RulesDecider {
  static constexpr std::string_view kName = "rules";
  using State = v1::RulesState;
  using Command = v1::RulesCommand;
  using Event = v1::RulesEvent;
  using Reply = v1::RulesReply;
  using Decided = Decision<Event, Reply>;

  static Result<Decided> decide(const ActorKey& self, const State& state, const Command& command,
                                const v1::Context& context);
  static void evolve(State& state, const Event& event);
  static std::string event_type(const Event& event);
};

// Of the tenant, or of kGlobalTenant: those of tenants that have none of their own.
ActorKey rules_key(const std::string& tenant);

}  // namespace soma::actors
