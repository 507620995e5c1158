// Model: a worker pool of one partition: queue, slots, retries.
#pragma once

#include "actors/decider.h"
#include "soma/v1/model.pb.h"

namespace soma::actors {

// Pure and stateless; see actors/decider.h.
struct ModelDecider {
  static constexpr std::string_view kName = "model";
  using State = v1::ModelState;
  using Command = v1::ModelCommand;
  using Event = v1::ModelEvent;
  using Reply = v1::ModelReply;
  using Decided = Decision<Event, Reply>;

  static Result<Decided> decide(const ActorKey& self, const State& state, const Command& command,
                                const v1::Context& context);
  static void evolve(State& state, const Event& event);
  static std::vector<Effect> effects(const ActorKey& self, const State& state);
  static std::string event_type(const Event& event);
};

// The pool that serves `model` in partition `partition`; it lives in that partition.
ActorKey pool_key(const std::string& tenant, const std::string& model, std::uint32_t partition);

}  // namespace soma::actors
