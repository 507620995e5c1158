// asyncapi.json: the topics, their events and commands, from the tables and the schemas.
#pragma once

#include <boost/json/object.hpp>
#include <string>

#include "actors/actor_type.h"
#include "runtime/http/router.h"

namespace soma::runtime::integration {

// AsyncAPI 3.0. Actions are the node's own: it sends events and receives commands. Aborts when a
// table names an event, topic or route that does not exist.
boost::json::object asyncapi(const actors::Catalog& catalog, const http::Router& router,
                             const std::string& topic_prefix);

}  // namespace soma::runtime::integration
