// Decision: one policy evaluation, so that it can be proved later.
#pragma once

#include "actors/decider.h"
#include "soma/v1/decision.pb.h"

namespace soma::actors {

// Pure and stateless; see actors/decider.h.
struct DecisionDecider {
  static constexpr std::string_view kName = "decision";
  using State = v1::DecisionState;
  using Command = v1::DecisionCommand;
  using Event = v1::DecisionEvent;
  using Reply = v1::DecisionReply;
  using Decided = Decision<Event, Reply>;

  static Result<Decided> decide(const ActorKey& self, const State& state, const Command& command,
                                const v1::Context& context);
  static void evolve(State& state, const Event& event);
  static std::string event_type(const Event& event);
};

// The actor that holds the decision `decision_id` of a tenant.
ActorKey decision_key(const std::string& tenant, const std::string& decision_id);

}  // namespace soma::actors
