// Worlds whose lives are the nodes of a cluster.
#include "runtime/sim/world.h"

namespace soma::sim {

namespace {

constexpr std::uint32_t kClusterOdds = 400'000;  // per million

}  // namespace

// Three lives with a group that shares the partitions out among them, where others have one life
// that takes them all from the one before.
void World::choose_cluster(const Options& options) {
  if (!Rng(ground_.seed, "cluster").chance(kClusterOdds) || options.without.contains("cluster"))
    return;
  group_ = std::make_unique<Group>(ground_, log_.partition_count());
  wanted_ = machines_.size();
  shape_.group = group_.get();
  shape_.network = &network_;
  shape_.stands_by = standbys_;
}

// Clients mostly know the newest life; some still talk to an older one. Those of a cluster know
// them all.
Process* World::pick() {
  Process* p = newest();
  if (group_ && processes_.size() > 1)
    p = rng_.pick(processes_).get();
  else if (processes_.size() > 1 && rng_.chance(200'000))
    p = processes_.front().get();
  const auto takes = [](const Life& life) {
    return life.alive && !life.paused() && !life.cut_off(life.unreachable_until_us);
  };
  return p && takes(p->life()) ? p : nullptr;
}

}  // namespace soma::sim
