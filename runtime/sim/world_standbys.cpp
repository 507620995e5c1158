// Machines without a host, that follow the log until they get one.
#include <algorithm>

#include "runtime/sim/world.h"

namespace soma::sim {

namespace {

// Per million:
constexpr std::uint32_t kStandbyBegins = 4'000;   // of a free machine a step,
constexpr std::uint32_t kStandbySteps = 100'000;  // of a standby's steps to the world's,
constexpr std::uint32_t kStandbyDies = 300'000;   // of those whose machine gets a host

}  // namespace

// What it has on its disk is all that a host finds.
void World::end_follower(std::size_t machine) {
  auto& m = *machines_[machine];
  if (!m.follower) return;
  const bool dies = !m.follower->life().alive || standby_rng_.chance(kStandbyDies);
  if (!dies) m.follower->hand_over();
  const bool crashed = dies || !m.follower->life().alive;
  m.follower.reset();
  if (crashed) m.disk.crash();
}

void World::stand_by() {
  for (std::size_t i = 0; i < machines_.size(); ++i) {
    auto& m = *machines_[i];
    if (m.follower && !m.follower->life().alive) end_follower(i);
    if (m.follower) {
      if (standby_rng_.chance(kStandbySteps)) m.follower->step();
      continue;
    }
    const bool busy = std::any_of(processes_.begin(), processes_.end(), [&](const auto& p) {
      return p->life().name.starts_with(m.name);
    });
    if (busy || !standby_rng_.chance(kStandbyBegins)) continue;
    ProcessParts parts = shape_;
    parts.disk = &m.disk;
    parts.name = m.name + "-standby" + std::to_string(++followers_);
    m.follower = std::make_unique<Follower>(parts);
  }
}

}  // namespace soma::sim
