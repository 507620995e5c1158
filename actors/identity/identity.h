// Identity: a tenant's users and services, and which of its tokens were issued or revoked.
#pragma once

#include "actors/decider.h"
#include "actors/version_tag.h"
#include "soma/v1/identity.pb.h"

namespace soma::actors {

// Pure and stateless; see actors/decider.h. At most 10,000 users, 1,000 services and 100,000
// revoked tokens of a tenant; beyond that kConflict says what to do.
struct IdentityDecider {
  static constexpr std::string_view kName = "identity";
  using State = v1::IdentityState;
  using Command = v1::IdentityCommand;
  using Event = v1::IdentityEvent;
  using Reply = v1::IdentityReply;
  using Decided = Decision<Event, Reply>;

  static Result<Decided> decide(const ActorKey& self, const State& state, const Command& command,
                                const v1::Context& context);
  static void evolve(State& state, const Event& event);
  static std::string event_type(const Event& event);
};

ActorKey identity_key(const std::string& tenant);

// A service principal's subject is this and its id, however it proved who it is; no user's begins
// so.
inline constexpr std::string_view kServicePrefix = "svc:";
inline bool is_service(std::string_view subject) { return subject.starts_with(kServicePrefix); }
// 1 to 63 of a-z, 0-9, '.', '_' and '-', the first a letter or digit.
bool is_service_id(std::string_view id);

}  // namespace soma::actors
