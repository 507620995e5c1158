// Inference: one governed model call outside a session.
#pragma once

#include "actors/decider.h"
#include "soma/v1/inference.pb.h"

namespace soma::actors {

// Pure and stateless; see actors/decider.h.
struct InferenceDecider {
  static constexpr std::string_view kName = "inference";
  using State = v1::InferenceState;
  using Command = v1::InferenceCommand;
  using Event = v1::InferenceEvent;
  using Reply = v1::InferenceReply;
  using Decided = Decision<Event, Reply>;

  static Result<Decided> decide(const ActorKey& self, const State& state, const Command& command,
                                const v1::Context& context);
  static void evolve(State& state, const Event& event);
  static std::vector<Effect> effects(const ActorKey& self, const State& state);
  static std::string event_type(const Event& event);
};

}  // namespace soma::actors
