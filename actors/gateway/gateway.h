// Gateway: switches that hold for every tenant.
#pragma once

#include "actors/decider.h"
#include "soma/v1/gateway.pb.h"

namespace soma::actors {

// Pure and stateless; see actors/decider.h.
struct GatewayDecider {
  static constexpr std::string_view kName = "gateway";
  using State = v1::GatewayState;
  using Command = v1::GatewayCommand;
  using Event = v1::GatewayEvent;
  using Reply = v1::GatewayReply;
  using Decided = Decision<Event, Reply>;

  static Result<Decided> decide(const ActorKey& self, const State& state, const Command& command,
                                const v1::Context& context);
  static void evolve(State& state, const Event& event);
  static std::vector<Effect> effects(const ActorKey& self, const State& state);
  static std::string event_type(const Event& event);
};

// The one actor of this type. Its tenant is no tenant: a name that no token can carry.
ActorKey gateway_key();

}  // namespace soma::actors
