// Frames of a partition, some lost on the way to its standby.
#include "runtime/sim/follower.h"

namespace soma::sim {

namespace {
constexpr std::uint32_t kLook = 200'000, kMissed = 200'000;  // per million
constexpr std::size_t kReadBytes = 4096;
}  // namespace

Follower::Follower(const ProcessParts& parts)
    : parts_(parts),
      rng_(parts.ground->seed, "standby " + parts.name),
      life_(std::make_shared<Life>(*parts.ground, parts.name)),
      log_(std::make_unique<WireLog>(life_, *parts.log,
                                     Rng(parts.ground->seed, "wire " + parts.name))),
      entries_(std::make_unique<events::EntryReader>(*log_)),
      clock_(std::make_unique<SimClock>(life_)),
      store_(make_store_face(life_, *parts.disk)) {
  life_->serving = true;  // its death is no death in a recovery
  for (std::uint32_t p = 0; p < log_->partition_count(); ++p) {
    readers_.emplace_back(*log_, PartitionId{p});
    standbys_.push_back(std::make_unique<runtime::Standby>(
        PartitionId{p},
        runtime::Standby::Parts{log_.get(), entries_.get(), parts_.catalog, store_.get(),
                                clock_.get(), &parts_.limits, &arrivals_}));
  }
  parts.ground->note(parts.name + " stands by");
}

Follower::~Follower() {
  life_->alive = false;
  log_->die();
}

void Follower::step() {
  const auto p = static_cast<std::size_t>(rng_.below(standbys_.size()));
  if (rng_.chance(kLook)) {
    standbys_[p]->look();
    return;
  }
  auto frames = readers_[p].next(kReadBytes);
  if (!frames) return;
  for (const auto& frame : *frames) {
    arrivals_.take(frame);
    if (life_->alive && !rng_.chance(kMissed)) standbys_[p]->take(frame);
  }
}

void Follower::hand_over() {
  parts_.ground->note(parts_.name + " hands over");
  for (auto& standby : standbys_)
    if (life_->alive) standby->end(true);
}

}  // namespace soma::sim
