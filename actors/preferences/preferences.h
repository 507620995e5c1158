// Preferences: model profiles and notification preferences of one tenant.
#pragma once

#include "actors/decider.h"
#include "actors/version_tag.h"
#include "soma/v1/preferences.pb.h"

namespace soma::actors {

// Pure and stateless; see actors/decider.h. At most 100 profiles and 10,000 users' preferences.
// Whether a time zone exists is asked where the request comes in: deciders know none.
struct PreferencesDecider {
  static constexpr std::string_view kName = "preferences";
  using State = v1::PreferencesState;
  using Command = v1::PreferencesCommand;
  using Event = v1::PreferencesEvent;
  using Reply = v1::PreferencesReply;
  using Decided = Decision<Event, Reply>;

  static Result<Decided> decide(const ActorKey& self, const State& state, const Command& command,
                                const v1::Context& context);
  static void evolve(State& state, const Event& event);
  static std::string event_type(const Event& event);
};

inline constexpr const char* kModelRoles[] = {
    "chat", "planning", "code", "embedding", "speech_recognition", "speech_synthesis"};

ActorKey preferences_key(const std::string& tenant);

}  // namespace soma::actors
