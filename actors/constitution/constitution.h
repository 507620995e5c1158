// Constitution: which signed rules are in force for a tenant, version by version.
#pragma once

#include "actors/decider.h"
#include "soma/v1/constitution.pb.h"

namespace soma::actors {

// Pure and stateless; see actors/decider.h. Bundles reach it checked (hash, signature, rules); it
// decides which one is in force.
struct ConstitutionDecider {
  static constexpr std::string_view kName = "constitution";
  using State = v1::ConstitutionState;
  using Command = v1::ConstitutionCommand;
  using Event = v1::ConstitutionEvent;
  using Reply = v1::ConstitutionReply;
  using Decided = Decision<Event, Reply>;

  static Result<Decided> decide(const ActorKey& self, const State& state, const Command& command,
                                const v1::Context& context);
  static void evolve(State& state, const Event& event);
  static std::string event_type(const Event& event);
};

// Of the tenant; of the name kGlobalTenant: the one for tenants that have none of their own.
inline constexpr const char* kGlobalTenant = "_global";
ActorKey constitution_key(const std::string& tenant);

// What its ETag names: "NUMBER-HASH"; of a tenant that has none, number 0.
std::string version_tag(const v1::Constitution& constitution);

// What decisions need of it.
v1::ConstitutionInForce in_force(const v1::Constitution& constitution);

}  // namespace soma::actors
