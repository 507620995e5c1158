// What a redrive would do, tried on a copy of the actor's state.
#pragma once

#include <boost/json/array.hpp>
#include <string>
#include <vector>

#include "actors/actor_type.h"

namespace soma::runtime::api {

struct ParkedCommand {
  v1::Context context;
  std::string command, reason;
};

struct TriedRedrive {
  // A row a command: {command_id, time, principal, command, parked_because, result, events,
  // detail}. `result`: runs; refused (an answer too); parked (it throws again); waits (behind it).
  boost::json::array rows;
  bool stuck = false;   // one would be parked again
  std::string problem;  // of that one
};

// Decides the commands in order on `state`, which was folded up to now and is left as it is.
TriedRedrive try_redrive(const actors::Catalog& catalog, const ActorKey& key,
                         const actors::Message& state, const std::vector<ParkedCommand>& waiting);

}  // namespace soma::runtime::api
