// Sends from a partition to itself that come by its inbox, behind their own frame.
#pragma once

#include <cstdint>
#include <map>
#include <set>

#include "schemas/base/ids.h"

namespace soma::runtime {

// By target actor: how many are under way. While there are any, a later send to that actor may not
// go to it directly: it would overtake them. A value.
class OwnSends {
 public:
  void sent(const ActorKey& to) { ++open_[to]; }
  bool under_way(const ActorKey& to) const { return open_.contains(to); }

  // It is handed to its actor.
  void arrived(std::uint64_t number, const ActorKey& to) {
    if (arrived_.insert(number).second) close(to);
  }
  // It is recorded, in this life of the partition or an earlier one.
  void acknowledged(std::uint64_t number, const ActorKey& to) {
    if (arrived_.erase(number) == 0) close(to);
  }
  // As the log holds it when the partition is read back; `came`: its actor has had it.
  void found(std::uint64_t number, const ActorKey& to, bool came) {
    if (came)
      arrived_.insert(number);
    else
      sent(to);
  }
  void clear() {
    open_.clear();
    arrived_.clear();
  }

 private:
  void close(const ActorKey& to) {
    auto it = open_.find(to);
    if (it != open_.end() && --it->second == 0) open_.erase(it);
  }

  std::map<ActorKey, std::size_t> open_;
  std::set<std::uint64_t> arrived_;  // and not acknowledged
};

}  // namespace soma::runtime
