// Who will be given a partition when its owner goes: whom to keep warm for it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "events/kafka/group_view.h"

namespace soma::runtime {

// At most `count` nodes for each partition that somebody was given, the likeliest first, never its
// owner. As the group's assignor (cooperative-sticky) shares out what a member leaves: in falling
// order of partitions, each to whoever has the fewest, the first by member id among equals. The
// second is who follows when owner and first are both gone, and so on. Wrong ones cost time only.
std::map<PartitionId, std::vector<std::string>> heirs(const events::GroupView& group,
                                                      std::size_t count);

}  // namespace soma::runtime
