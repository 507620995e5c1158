// Counter: the smallest actor; copy it to begin a new one.
#pragma once

#include "actors/decider.h"
#include "soma/v1/counter.pb.h"

namespace soma::actors {

// Pure and stateless; see actors/decider.h.
struct CounterDecider {
  static constexpr std::string_view kName = "counter";
  using State = v1::CounterState;
  using Command = v1::CounterCommand;
  using Event = v1::CounterEvent;
  using Reply = v1::CounterReply;
  using Decided = Decision<Event, Reply>;

  static Result<Decided> decide(const ActorKey& self, const State& state, const Command& command,
                                const v1::Context& context);
  static void evolve(State& state, const Event& event);
  static std::vector<Effect> effects(const ActorKey& self, const State& state);
  static std::string event_type(const Event& event);
};

}  // namespace soma::actors
