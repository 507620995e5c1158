// A workflow of three steps as an actor: one command begins it, its state calls for each next step.
#pragma once

#include <memory>

#include "actors/actor_type.h"
#include "schemas/base/errors.h"
#include "soma/v1/counter.pb.h"

namespace soma::bench {

// Speaks the counter's messages: `call_out` begins it, a call is a step, `added` is its end; the
// state's value counts the steps that are done. A step that a crash cut off is run again, as a step
// of DBOS is; one that failed ends the workflow. Pure; see actors/decider.h.
struct StepsDecider {
  static constexpr std::string_view kName = "steps";
  static constexpr std::int64_t kSteps = 3;
  static constexpr const char* kEnded = "steps.ended";
  using State = v1::CounterState;
  using Command = v1::CounterCommand;
  using Event = v1::CounterEvent;
  using Reply = v1::CounterReply;
  using Decided = actors::Decision<Event, Reply>;

  static Result<Decided> decide(const ActorKey& self, const State& state, const Command& command,
                                const v1::Context& context);
  static void evolve(State& state, const Event& event);
  static std::vector<actors::Effect> effects(const ActorKey& self, const State& state);
  static std::string event_type(const Event& event);
};

// Of this type alone.
std::unique_ptr<actors::Catalog> steps_catalog();

}  // namespace soma::bench
