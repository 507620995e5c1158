// One step in full, to show what differs between two builds.
#pragma once

#include <boost/json/object.hpp>

#include "actors/actor_type.h"
#include "soma/v1/frame.pb.h"

namespace soma::runtime {

// {decision: {events: [{type, data}], sends: [{to, command}], reply} | {refused: {code, message}} |
// {throws} | "parked" | "unreadable", state, effects}: the entry decided on `before`, and what its
// recorded events make of that.
boost::json::object whole_step(const actors::Catalog& catalog, const actors::ActorType& type,
                               const ActorKey& key, const actors::Message& before,
                               const v1::Entry& entry);

}  // namespace soma::runtime
