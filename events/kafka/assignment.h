// What a group of consumers says of a member: its partitions in the bytes of the consumer protocol,
// and the node behind it.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "schemas/base/ids.h"

namespace soma::events::kafka {

// Partitions of `topic` in a member's assignment (version, topics with partitions, user data; big
// endian). None of what does not parse: who asks takes it as a hint.
std::set<PartitionId> assigned(std::string_view bytes, std::string_view topic);

// A node is a member as the client "soma-NODE".
std::string client_of_node(const std::string& node_id);
std::string node_of_client(const std::string& client_id);  // empty: no node

}  // namespace soma::events::kafka
