// Erasures that wait for a second key.
#pragma once

#include "actors/decider.h"
#include "soma/v1/erasure.pb.h"

namespace soma::actors {

// Pure and stateless; see actors/decider.h. One actor a tenant. It keeps the request until another
// person has decided; who erases hears of it by its event.
struct ErasureDecider {
  static constexpr std::string_view kName = "erasure";
  using State = v1::ErasureState;
  using Command = v1::ErasureCommand;
  using Event = v1::ErasureEvent;
  using Reply = v1::ErasureReply;
  using Decided = Decision<Event, Reply>;

  static Result<Decided> decide(const ActorKey& self, const State& state, const Command& command,
                                const v1::Context& context);
  static void evolve(State& state, const Event& event);
  static std::string event_type(const Event& event);
};

ActorKey erasure_key(const std::string& tenant);

}  // namespace soma::actors
