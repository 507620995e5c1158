// The partition while another node owns it: its snapshots are kept warm.
#include "runtime/host/partition.h"

namespace soma::runtime {

namespace {
constexpr std::size_t kMostWaiting = 512;  // frames; what does not fit is read from the log
}  // namespace

void Partition::stand_by(bool wanted) {
  post([this, wanted] {
    if (!wanted) return end_standby();
    const bool away = phase_ == Phase::kAway || (phase_ == Phase::kClosed && generation_ == 0);
    if (here_ || draining_ || !away || standby_now()) return;
    const auto& p = w_.parts;
    auto standby = std::make_shared<Standby>(
        id_, Standby::Parts{p.log, p.catalog, p.store, p.clock, &p.limits, &w_.arrivals});
    {
      std::lock_guard lock(standby_mutex_);
      standby_ = std::move(standby);
    }
    look();
  });
}

std::shared_ptr<Standby> Partition::standby_now() const {
  std::lock_guard lock(standby_mutex_);
  return standby_;
}

// What it holds goes into the store, from where recovery begins.
void Partition::end_standby(bool write) {
  std::shared_ptr<Standby> ended;
  {
    std::lock_guard lock(standby_mutex_);
    ended = std::move(standby_);
    standby_.reset();
  }
  if (ended) ended->end(write);
}

void Partition::followed(const events::ValidFrame& frame) {
  auto standby = standby_now();
  if (!standby) return;
  if (standby_work_.fetch_add(1) >= kMostWaiting) {
    standby_work_.fetch_sub(1);
    return;
  }
  w_.aside([self = shared_from_this(), standby = std::move(standby), frame] {
    self->standby_work_.fetch_sub(1);
    standby->take(frame);
  });
}

void Partition::look() {
  if (auto standby = standby_now()) w_.aside([standby = std::move(standby)] { standby->look(); });
}

std::optional<PartitionHost::StandbyStatus> Partition::standby() const {
  const auto standby = standby_now();
  if (!standby) return {};
  return PartitionHost::StandbyStatus{id_, standby->next(), standby->problem()};
}

}  // namespace soma::runtime
