// Who owns which partition, as the journal's claims say.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "events/frames.h"

namespace soma::runtime {

// Thread-safe. A hint for where to ask: the owner itself knows better.
class Directory {
 public:
  struct Owner {
    std::string node_id, address;  // "HOST:PORT"
    Epoch epoch;
  };
  // Valid frames in the order of the log; true when it was a claim.
  bool take(const events::ValidFrame& frame) {
    return frame.frame->has_claim() &&
           take(frame.position.partition, frame.frame->claim(), Epoch{frame.frame->epoch()});
  }
  bool take(PartitionId partition, const v1::Claim& claim, Epoch epoch) {
    std::lock_guard lock(mutex_);
    Owner& owner = owners_[partition];
    if (epoch < owner.epoch) return false;
    owner = {claim.node_id(), claim.address(), epoch};
    return true;
  }
  std::optional<Owner> owner(PartitionId partition) const {
    std::lock_guard lock(mutex_);
    auto it = owners_.find(partition);
    if (it == owners_.end()) return {};
    return it->second;
  }

  // Where the owners of partitions are, but for this node.
  std::vector<std::string> addresses(const std::string& but_node_id) const {
    std::set<std::string> found;
    std::lock_guard lock(mutex_);
    for (const auto& [partition, owner] : owners_)
      if (owner.node_id != but_node_id && !owner.address.empty()) found.insert(owner.address);
    return {found.begin(), found.end()};
  }

  // Ids of the nodes that own partitions.
  std::set<std::string> nodes() const {
    std::set<std::string> found;
    std::lock_guard lock(mutex_);
    for (const auto& [partition, owner] : owners_) found.insert(owner.node_id);
    return found;
  }

 private:
  mutable std::mutex mutex_;
  std::map<PartitionId, Owner> owners_;
};

}  // namespace soma::runtime
