// Session: one governed conversation, turn by turn.
#pragma once

#include "actors/decider.h"
#include "soma/v1/session.pb.h"

namespace soma::actors {

// Pure and stateless; see actors/decider.h.
struct SessionDecider {
  static constexpr std::string_view kName = "session";
  using State = v1::SessionState;
  using Command = v1::SessionCommand;
  using Event = v1::SessionEvent;
  using Reply = v1::SessionReply;
  using Decided = Decision<Event, Reply>;

  static Result<Decided> decide(const ActorKey& self, const State& state, const Command& command,
                                const v1::Context& context);
  static void evolve(State& state, const Event& event);
  static std::vector<Effect> effects(const ActorKey& self, const State& state);
  static std::string event_type(const Event& event);
};

}  // namespace soma::actors
