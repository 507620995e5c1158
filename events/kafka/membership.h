// Which node should own which partitions, by a consumer group: a hint. The log alone says who owns.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "events/kafka/kafka_log.h"

namespace soma::events {

struct MembershipOptions {
  std::string node_id;  // static member: back within its session, a node keeps what it had
  std::int64_t session_timeout_ms = 6000;
  std::int64_t release_timeout_ms = 10'000;  // then a partition is passed on though still in use
};

// Joins the group `PREFIXsoma.nodes` on the journal's topic; whoever is given a partition should
// own it. Owned by the node; one thread, which calls `on_change` and must not be blocked by it.
class Membership {
 public:
  enum class Turn : std::uint8_t {
    kGiven,
    kAskedBack,  // others wait for it: released() when it is no longer served
    kLost,       // another may have it already
  };
  using OnChange = std::function<void(PartitionId, Turn)>;

  virtual ~Membership() = default;  // without leave() the group waits for the session's time
  virtual std::vector<PartitionId> given() const = 0;
  virtual void released(PartitionId partition) = 0;
  // Asks back all partitions; leaves the group when they are released. left() is true then.
  virtual void leave() = 0;
  virtual bool left() const = 0;
  // kLocked: another process took this node's name, and with it its place, for good. kUnavailable:
  // it is about to join anew.
  virtual Status health() const = 0;
};
Result<std::unique_ptr<Membership>> join_nodes(KafkaOptions kafka, MembershipOptions options,
                                               Membership::OnChange on_change);

}  // namespace soma::events
