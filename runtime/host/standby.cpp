// The owner's checkpoint, made from frames that somebody else decided.
#include "runtime/host/standby.h"

#include "runtime/host/stored_state.h"
#include "runtime/telemetry/log.h"
#include "schemas/base/planted.h"

namespace soma::runtime {

namespace {
constexpr std::size_t kReadBytes = 1 << 20;
constexpr int kReadsAtOnce = 16;            // then other partitions have their turn
constexpr std::uint32_t kManyFailures = 3;  // in a row: more looks will hardly help
}  // namespace

void Arrivals::take(const events::ValidFrame& frame) {
  for (const auto& entry : frame.frame->entries())
    if (entry.has_input())
      reached(PartitionId{entry.input().source_partition()}, frame.position.partition,
              entry.input().source_number());
}

void Arrivals::reached(PartitionId source, PartitionId target, std::uint64_t number) {
  std::lock_guard lock(mutex_);
  auto& known = numbers_[{source.value, target.value}];
  known = std::max(known, number);
}

std::uint64_t Arrivals::number(PartitionId source, PartitionId target) const {
  std::lock_guard lock(mutex_);
  auto it = numbers_.find({source.value, target.value});
  return it == numbers_.end() ? 0 : it->second;
}

Standby::Standby(PartitionId id, Parts parts)
    : id_(id), parts_(parts), facts_(parts.log->partition_count()) {}

std::string Standby::problem() const {
  std::lock_guard lock(problem_mutex_);
  return problem_;
}

bool Standby::lasting() const {
  std::lock_guard lock(problem_mutex_);
  return corrupt_ || failures_ >= kManyFailures;
}

// From the store's last checkpoint, this node's own or an earlier standby's; else from the start.
void Standby::begin() {
  touched_.clear();
  history_.clear();
  frames_ = events_ = 0;
  facts_ = PartitionFacts(parts_.log->partition_count());
  mark_ = {};
  generation_ = parts_.store->generation();
  auto checkpoint = usable_checkpoint(*parts_.log, *parts_.store, id_);
  if (!checkpoint) return stop_at(checkpoint.error());
  if (*checkpoint) {
    if (auto ok = facts_.restore((*checkpoint)->extra); !ok) return stop_at(ok.error());
    mark_ = bookmark_of(**checkpoint);
  }
  begun_ = true;
  next_ = mark_.next.value;
  written_ms_ = parts_.clock->steady_ms();
}

// It is tried again from the last checkpoint at the next look.
void Standby::stop_at(const Error& why) {
  begun_ = false;
  std::lock_guard lock(problem_mutex_);
  if (problem_ != why.message)
    log_warn("a standby cannot follow its partition",
             {{"partition", id_.value}, {"reason", why.message}});
  problem_ = why.message;
  corrupt_ = why.code == Code::kCorrupt;
  ++failures_;
}

void Standby::follows() {
  std::lock_guard lock(problem_mutex_);
  problem_.clear();
  corrupt_ = false;
  failures_ = 0;
}

// What was folded over rows that are gone is gone as well.
bool Standby::same_store() {
  if (begun_ && parts_.store->generation() != generation_) {
    begun_ = false;
    touched_.clear();
    history_.clear();
    facts_ = PartitionFacts(parts_.log->partition_count());
  }
  return begun_;
}

bool Standby::take(const events::ValidFrame& frame) {
  if (take_next(frame)) return false;
  // Something stands between, or a claim voids some of it.
  return read_to(frame.position.offset.next());
}

bool Standby::take_next(const events::ValidFrame& frame) {
  std::lock_guard lock(mutex_);
  if (ending_ || !same_store() || frame.position.offset < mark_.next) return true;
  events::Fence fence = mark_.fence;
  const bool next = !mark_.last_hash.empty() && frame.frame->number() > 0 &&
                    fence.admit(*frame.frame, frame.hash) == events::Verdict::kValid;
  if (!next && !planted(Bug::kStandbyGap)) return false;
  fold(frame);
  if (!begun_) return true;
  mark_ = {frame.position.offset.next(), std::move(fence), frame.position.offset, frame.hash};
  write_if_due();
  next_ = mark_.next.value;
  return true;
}

bool Standby::look() {
  {
    std::lock_guard lock(mutex_);
    if (ending_) return false;
    if (!same_store()) begin();
    if (!begun_) return false;
  }
  const bool more = read_to(parts_.log->end(id_));
  std::lock_guard lock(mutex_);
  if (!begun_ || ending_) return false;
  write_if_due();
  if (begun_) follows();
  return begun_ && more;
}

bool Standby::read_to(Offset until) {
  for (int reads = 0;; ++reads) {
    std::lock_guard lock(mutex_);
    if (ending_ || !same_store() || mark_.next >= until) return false;
    if (reads == kReadsAtOnce) return true;
    events::FrameReader reader(*parts_.log, id_, mark_);
    auto frames = reader.next(kReadBytes);
    if (!frames) {
      stop_at(frames.error());
      return false;
    }
    for (const auto& frame : *frames) {
      fold(frame);
      if (!begun_) return false;
    }
    const bool stuck = reader.next_offset() == mark_.next;
    mark_ = reader.bookmark();
    write_if_due();
    next_ = mark_.next.value;
    if (stuck) return false;
  }
}

Entity* Standby::entity(const ActorKey& key) {
  if (auto it = touched_.find(key); it != touched_.end()) return it->second.get();
  const auto* type = parts_.catalog->find(key.type);
  if (!type) return nullptr;  // of a newer build's type; its history leads there
  auto fresh = std::make_unique<Entity>(key, *type);
  load_entity(*fresh, id_, *parts_.entries, *parts_.store, {});
  return touched_.emplace(key, std::move(fresh)).first->second.get();
}

void Standby::fold(const events::ValidFrame& frame) {
  for (const auto& entry : frame.frame->entries()) {
    if (ending_) {  // cut off: memory is between two frames, and is not written
      begun_ = false;
      return;
    }
    if (entry.events_size() == 0) continue;
    Entity* e = entity(actors::to_key(entry.actor()));
    if (!e) continue;
    for (const auto& event : entry.events()) {
      auto ok = e->broken ? Status(fail(Code::kCorrupt, e->problem)) : e->apply(event);
      if (!ok) return stop_at(ok.error());  // no checkpoint may pass it
    }
    events_ += static_cast<std::uint64_t>(entry.events_size());
  }
  facts_.take(frame);
  for (auto& row : history_of(frame)) history_.push_back(std::move(row));
  ++frames_;
}

void Standby::write_if_due() {
  if (frames_ == 0) return;
  const auto& limits = *parts_.limits;
  if (events_ >= limits.checkpoint_every_events || frames_ >= limits.checkpoint_every_events ||
      parts_.clock->steady_ms() - written_ms_ >= limits.checkpoint_every_ms)
    write();
}

void Standby::write() {
  StateStore::Batch batch;
  batch.generation = generation_;
  const std::int64_t now = parts_.clock->now_ms();
  const Offset last{mark_.next.value ? mark_.next.value - 1 : 0};
  for (const auto& [key, e] : touched_)
    if (e->sequence() > e->saved)
      batch.snapshots.push_back({key, e->sequence(), last, e->type().schema_hash(),
                                 actors::deterministic_bytes(e->state()),
                                 !e->type().effects(key, e->state()).empty()});
  for (auto& [id, row] : facts_.recent)
    if (now - row.at_ms < parts_.limits->dedupe_keep_ms) batch.dedupe.push_back(row);
  batch.history = history_;
  std::erase_if(facts_.outbox, [&](const auto& item) {
    const auto [target, number] = item.first;
    return planted(Bug::kStandbySendsDropped) ||
           number <= parts_.arrivals->number(id_, PartitionId{target});
  });
  batch.checkpoint = StateStore::Checkpoint{mark_.next,
                                            mark_.fence.epoch(),
                                            mark_.fence.last_number(),
                                            mark_.fence.head(),
                                            actors::deterministic_bytes(facts_.extra()),
                                            mark_.last,
                                            mark_.last_hash};
  written_ms_ = parts_.clock->steady_ms();
  if (auto ok = parts_.store->write(id_, batch); !ok) return stop_at(ok.error());
  touched_.clear();
  history_.clear();
  facts_.recent.clear();
  frames_ = events_ = 0;
}

void Standby::end(bool write_it) {
  ending_ = true;
  std::lock_guard lock(mutex_);
  if (!begun_) return;
  if (write_it && frames_ > 0 && parts_.store->generation() == generation_) write();
  begun_ = false;
}

}  // namespace soma::runtime
