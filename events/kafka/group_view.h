// Who is in the group of nodes, and which partitions each was given: what the coordinator says.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "events/kafka/kafka_log.h"

namespace soma::events {

struct GroupView {
  struct Member {
    std::string node_id;
    std::string member_id;  // as the group orders them
    std::set<PartitionId> given;
  };
  bool stable = false;  // else partitions are being shared out, and `given` is not known
  std::vector<Member> members;
};

// Not a member itself. Owned by one thread; blocks.
class GroupViewer {
 public:
  virtual ~GroupViewer() = default;
  virtual Result<GroupView> look() = 0;  // kUnavailable
};
Result<std::unique_ptr<GroupViewer>> view_nodes(KafkaOptions kafka);

}  // namespace soma::events
