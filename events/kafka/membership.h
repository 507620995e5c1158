// Which node should own the journal, by a consumer group: a hint. The log alone says who owns.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "events/kafka/kafka_log.h"

namespace soma::events {

struct MembershipOptions {
  std::string node_id;  // static member: back within its session, a node keeps what it had
  std::int64_t session_timeout_ms = 6000;
};

// Joins the group `PREFIXsoma.nodes` on the one-partition topic of that name; whoever is given the
// partition should own the journal. Owned by the node; one thread, on which `on_change` is called
// with whether it is this node's turn; it must not block.
class Membership {
 public:
  virtual ~Membership() = default;  // leaves after the session's time, as static members do
  virtual bool chosen() const = 0;
};
Result<std::unique_ptr<Membership>> join_nodes(KafkaOptions kafka, MembershipOptions options,
                                               std::function<void(bool chosen)> on_change);

}  // namespace soma::events
