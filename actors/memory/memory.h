// Memory: one remembered fact.
#pragma once

#include "actors/decider.h"
#include "soma/v1/memory.pb.h"

namespace soma::actors {

// Pure and stateless; see actors/decider.h.
struct MemoryDecider {
  static constexpr std::string_view kName = "memory";
  using State = v1::MemoryState;
  using Command = v1::MemoryCommand;
  using Event = v1::MemoryEvent;
  using Reply = v1::MemoryReply;
  using Decided = Decision<Event, Reply>;

  static Result<Decided> decide(const ActorKey& self, const State& state, const Command& command,
                                const v1::Context& context);
  static void evolve(State& state, const Event& event);
  static std::vector<Effect> effects(const ActorKey& self, const State& state);
  static std::string event_type(const Event& event);
};

// The actor that holds the fact `memory_id` of a tenant.
ActorKey memory_key(const std::string& tenant, const std::string& memory_id);

}  // namespace soma::actors
