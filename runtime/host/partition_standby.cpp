// The partition while another node owns it: its snapshots are kept warm.
#include "runtime/host/partition.h"

namespace soma::runtime {

namespace {
constexpr std::size_t kMostWaiting = 512;  // frames; what does not fit is read from the log
}  // namespace

void Partition::stand_by(bool wanted) {
  post([this, wanted] {
    standby_wanted_ = wanted;
    if (!wanted) return dismiss_standby();
    if (!may_stand_by() || std::exchange(standby_coming_, true)) return;
    // Behind what this node, as the owner, may still be writing.
    w_.background(
        [self = shared_from_this()] { self->post([p = self.get()] { p->begin_standby(); }); });
  });
}

bool Partition::may_stand_by() const {
  const bool away = phase_ == Phase::kAway || (phase_ == Phase::kClosed && generation_ == 0);
  return away && !here_ && !draining_ && !standby_now();
}

void Partition::begin_standby() {
  standby_coming_ = false;
  if (!standby_wanted_ || !may_stand_by()) return;
  const auto& p = w_.parts;
  auto standby =
      std::make_shared<Standby>(id_, Standby::Parts{p.log, w_.entries.get(), p.catalog, p.store,
                                                    p.clock, &p.limits, &w_.arrivals});
  {
    std::lock_guard lock(standby_mutex_);
    standby_ = std::move(standby);
  }
  look();
}

std::shared_ptr<Standby> Partition::standby_now() const {
  std::lock_guard lock(standby_mutex_);
  return standby_;
}

// What it holds goes into the store, from where recovery begins. Nothing of a standby is written
// after that.
void Partition::end_standby(bool write) {
  std::shared_ptr<Standby> ended;
  {
    std::lock_guard lock(standby_mutex_);
    ended = std::move(standby_);
    standby_.reset();
  }
  for (const auto& standby : dismissed_) standby->end(write);
  dismissed_.clear();
  if (ended) ended->end(write);
}

// In no hurry: it may read, and then it writes.
void Partition::dismiss_standby() {
  std::lock_guard lock(standby_mutex_);
  if (!standby_) return;
  dismissed_.push_back(std::move(standby_));
  standby_.reset();
  w_.aside([self = shared_from_this(), standby = dismissed_.back()] {
    standby->end(true);
    self->post([p = self.get(), standby] { std::erase(p->dismissed_, standby); });
  });
}

// What other nodes write is told in its place among what this one does: before any of its own, as
// recovery waits for it.
void Partition::followed(const events::ValidFrame& frame) {
  if (frame.position.offset.value >= observed_) post([this, frame] { observe(frame); });
  auto standby = standby_now();
  if (!standby) return;
  if (standby_work_.fetch_add(1) >= kMostWaiting) {
    standby_work_.fetch_sub(1);
    return;
  }
  w_.aside([self = shared_from_this(), standby = std::move(standby), frame] {
    self->standby_work_.fetch_sub(1);
    if (standby->take(frame)) self->look();
  });
}

void Partition::look() {
  if (!standby_now() || look_queued_.exchange(true)) return;
  w_.aside([self = shared_from_this()] {
    self->look_queued_ = false;
    const auto standby = self->standby_now();
    if (standby && standby->look()) self->look();
  });
}

std::optional<PartitionHost::StandbyStatus> Partition::standby() const {
  const auto standby = standby_now();
  if (!standby) return {};
  return PartitionHost::StandbyStatus{id_, standby->next(), standby->problem(), standby->lasting(),
                                      standby->generation()};
}

}  // namespace soma::runtime
