// What clients have submitted to a partition: counted, bounded, taken in their order.
#include "runtime/host/intake.h"

#include <iterator>
#include <utility>

namespace soma::runtime {

Intake::Entered Intake::enter(Submission& submission, Host::OnAccepted& done) {
  std::lock_guard lock(mutex_);
  if (all_ >= most_) return Entered::kPartitionFull;
  const bool counted = place(submission.actor);
  if (!counted && submission.once) return Entered::kActorFull;
  ++all_;
  const bool first = arrivals_.empty();
  arrivals_.push_back({std::move(submission), std::move(done), counted});
  return first ? Entered::kFirst : Entered::kBehindOthers;
}

Intake::Taken Intake::take(std::size_t most) {
  Taken taken;
  std::lock_guard lock(mutex_);
  if (arrivals_.size() <= most) {
    taken.arrivals.swap(arrivals_);
    return taken;
  }
  const auto end = arrivals_.begin() + static_cast<std::ptrdiff_t>(most);
  std::move(arrivals_.begin(), end, std::back_inserter(taken.arrivals));
  arrivals_.erase(arrivals_.begin(), end);
  taken.more = true;
  return taken;
}

bool Intake::count(const ActorKey& actor) {
  std::lock_guard lock(mutex_);
  return place(actor);
}

void Intake::leave(const ActorKey& actor, bool counted) {
  std::lock_guard lock(mutex_);
  --all_;
  if (!counted) return;
  const auto of = places_.find(actor);
  if (--of->second == 0) places_.erase(of);
}

bool Intake::place(const ActorKey& actor) {
  auto& taken = places_[actor];
  if (taken >= most_of_actor_) return false;
  ++taken;
  return true;
}

}  // namespace soma::runtime
