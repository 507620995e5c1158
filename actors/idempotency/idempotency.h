// Idempotency: one key of a tenant, the request it stands for, and that request's answer.
#pragma once

#include "actors/decider.h"
#include "soma/v1/idempotency.pb.h"

namespace soma::actors {

// Pure and stateless; see actors/decider.h.
struct IdempotencyDecider {
  static constexpr std::string_view kName = "idempotency";
  using State = v1::IdempotencyState;
  using Command = v1::IdempotencyCommand;
  using Event = v1::IdempotencyEvent;
  using Reply = v1::IdempotencyReply;
  using Decided = Decision<Event, Reply>;

  static Result<Decided> decide(const ActorKey& self, const State& state, const Command& command,
                                const v1::Context& context);
  static void evolve(State& state, const Event& event);
  static std::string event_type(const Event& event);
};

// The actor that holds a tenant's key; the key itself is only kept as its hash.
ActorKey idempotency_key(const std::string& tenant, const std::string& key);

}  // namespace soma::actors
