// What clients have submitted to a partition and it has not yet begun: counted, and bounded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <unordered_map>

#include "runtime/host/host.h"

namespace soma::runtime {

// Thread-safe. Callers enter on their own threads and are refused there, so that what comes for a
// busy actor, or a busy partition, costs the partition nothing.
class Intake {
 public:
  struct Arrival {
    Submission submission;
    Host::OnAccepted done;
    bool counted = false;  // has a place among those of its actor
  };
  enum class Entered : std::uint8_t { kFirst, kBehindOthers, kActorFull, kPartitionFull };

  explicit Intake(const HostLimits& limits)
      : most_(limits.queue_per_partition), most_of_actor_(limits.waiting_per_actor) {}

  // Takes both, but where one of the bounds is reached. One with a key may have its answer already:
  // it gets in without a place of its actor, and count() it when it turns out to be new. kFirst:
  // nothing waited to be taken.
  Entered enter(Submission& submission, Host::OnAccepted& done);
  struct Taken {
    std::deque<Arrival> arrivals;  // in the order in which they came
    bool more = false;
  };
  Taken take(std::size_t most);
  bool count(const ActorKey& actor);  // false: no place is left
  // It has begun, or will not.
  void leave(const ActorKey& actor, bool counted);

 private:
  bool place(const ActorKey& actor);

  const std::size_t most_, most_of_actor_;
  std::mutex mutex_;
  std::deque<Arrival> arrivals_;
  std::size_t all_ = 0;  // entered and not left
  std::unordered_map<ActorKey, std::size_t> places_;
};

}  // namespace soma::runtime
