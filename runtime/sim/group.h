// The consumer group of a simulated cluster: says which node should own which partition.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include "events/kafka/membership.h"
#include "runtime/sim/life.h"

namespace soma::sim {

// A coordinator that sees a member while it lives, runs and reaches the log, and gives its
// partitions away a session's time after that. What it says comes late; what is asked back and not
// released in time is given away all the same. One for all processes; outlives them.
class Group {
 public:
  Group(Ground& ground, std::uint32_t partitions);

  void start();    // it looks from now on
  void shuffle();  // a rebalance that moves partitions for no reason
  std::unique_ptr<events::Membership> join(std::shared_ptr<Life> life,
                                           events::Membership::OnChange on_change);

 private:
  using Turn = events::Membership::Turn;
  struct Member {
    std::shared_ptr<Life> life;
    events::Membership::OnChange on_change;
    std::set<PartitionId> given;  // as the member knows
    std::int64_t seen_us = 0, next_turn_us = 0;
    std::uint64_t stay = 0;  // turns of an earlier one are never told
    bool in = true, leaving = false, left = false;
  };
  using MemberPtr = std::shared_ptr<Member>;
  struct Place {  // one partition
    MemberPtr holder, wanted;
    std::int64_t asked_us = -1;  // back from its holder; -1: it was not
  };
  class Seat;
  void look();
  bool sees(const Member& member) const;
  bool watch();  // who has gone and who is back; true when that changed anything
  void share_out(bool anew);
  void move();
  void tell(const MemberPtr& member, PartitionId partition, Turn turn);
  void tell_at(std::int64_t when_us, const MemberPtr& member, PartitionId partition, Turn turn,
               std::uint64_t stay);
  void released(const MemberPtr& member, PartitionId partition);

  Ground& ground_;
  Rng rng_;
  const std::int64_t session_us_;
  std::vector<MemberPtr> members_;
  std::vector<Place> places_;
  bool changed_ = false;
};

}  // namespace soma::sim
