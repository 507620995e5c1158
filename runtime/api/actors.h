// Any actor of a tenant by type and id, for routes that do not know its partition.
#pragma once

#include <optional>

#include "runtime/api/api.h"

namespace soma::runtime::api {

// Where its events are: a pool of models has a partition of its own that its name does not tell.
// Nothing when it has no events. Blocking.
Result<std::optional<ActorKey>> find_actor(const Node& node, const std::string& tenant,
                                           const std::string& type, const std::string& id);

}  // namespace soma::runtime::api
