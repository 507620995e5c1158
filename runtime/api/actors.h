// Any actor of a tenant by type and id, for routes that do not know its partition; and as it was.
#pragma once

#include <optional>

#include "runtime/api/api.h"
#include "runtime/api/journal_views.h"

namespace soma::runtime::api {

// Where its events are: a pool of models has a partition of its own that its name does not tell.
// Nothing when it has no events. Blocking.
Result<std::optional<ActorKey>> find_actor(const Node& node, const std::string& tenant,
                                           const std::string& type, const std::string& id);

// An actor's fold up to a place, and where and when its last event there was recorded.
struct StateAt {
  views::Fold fold;
  Position position;
  std::int64_t time_ms = 0;
};
// kNotFound: it had no events yet. Blocking.
Result<StateAt> state_at(const Node& node, const ActorKey& key, const views::At& at);

}  // namespace soma::runtime::api
