// Checkpoints: states, dedupe rows and history into the store, so that the tail to read stays
// short.
#include <algorithm>

#include "runtime/host/partition.h"
#include "runtime/host/stored_state.h"
#include "runtime/telemetry/log.h"
#include "schemas/base/planted.h"

namespace soma::runtime {

void Partition::tick() {
  post([this] {
    tick_ms_ = w_.parts.clock->steady_ms();
    const std::uint64_t open = round_ ? rounds_ : 0;
    if (open == 0 || open != beat_round_) beats_.fetch_add(1, std::memory_order_relaxed);
    beat_round_ = open;
    maybe_checkpoint();
    if (!round_) passivate();
  });
}

// I17. While the log takes nothing, waiting for it is no fault of the partition's. Nor is it when
// recoveries and actors that are read back hold the host's threads, as long as those get on.
void Partition::watch(bool judge) {
  bool serves = judge && w_.parts.log->health().has_value();
  {
    std::lock_guard lock(shared_mutex_);
    serves = serves && status_.serving;
  }
  const std::uint64_t beats = beats_.load(std::memory_order_relaxed) +
                              w_.metrics->recovered_frames.load(std::memory_order_relaxed) +
                              w_.metrics->restored_frames.load(std::memory_order_relaxed);
  const auto& limits = w_.parts.limits;
  const bool still = watch_.look(serves, beats, limits.checkpoint_every_ms, limits.still_ms);
  if (still_.exchange(still) == still) return;
  if (still)
    log_error("a partition stands still though the log takes appends; the node is not ready",
              {{"partition", id_.value}});
  else
    log_info("a partition that stood still moves again", {{"partition", id_.value}});
}

void Partition::maybe_checkpoint() {
  if (phase_ != Phase::kServing) return;
  if (store_lost() && !round_) return fail_partition({Code::kUnknownOutcome, kStoreLost, {}});
  if (events_since_checkpoint_ == 0) return;
  if (w_.parts.clock->steady_ms() - last_checkpoint_ms_ < w_.parts.limits.checkpoint_every_ms)
    return;
  want_checkpoint_ = true;
  pump();
}

v1::PartitionExtra Partition::extra() const {
  v1::PartitionExtra extra = extra_of(last_sent_, high_water_, outbox_);
  *extra.mutable_claim() = own_claim();
  for (const auto& [actor, parked] : parked_)
    for (const auto& input : parked.inputs)
      add_parked(extra, actor, input.context, input.command,
                 parked.reason.empty() ? "parked" : parked.reason);
  for (const auto& input : queue_)  // about to run, and not yet in the log as run
    if (input.recorded) add_parked(extra, input.actor, input.context, input.command, "redriven");
  return extra;
}

// Nothing is in flight and no round is open: states in memory are exactly what the log holds.
void Partition::write_checkpoint() {
  want_checkpoint_ = false;
  checkpointing_ = true;
  events_since_checkpoint_ = 0;
  last_checkpoint_ms_ = w_.parts.clock->steady_ms();
  auto batch = std::make_shared<StateStore::Batch>();
  decltype(tail_) tail;
  {
    std::lock_guard lock(shared_mutex_);
    tail = tail_;
  }
  const Offset last{next_offset_.value ? next_offset_.value - 1 : 0};
  std::vector<std::pair<ActorKey, Sequence>> saved;
  for (const auto& [key, rows] : tail) {
    for (const auto& row : rows) batch->history.push_back({key, row.first, row.offset});
    auto e = entity(key);
    if (!e) continue;  // of a newer build's type; its history leads there
    if (!e->loaded) {
      load_entity(*e, id_, *w_.entries, *w_.parts.store, tail_history(key),
                  &w_.metrics->restored_frames);
      if (!e->broken) update_effects(key, e->type().effects(key, e->state()), true);
    }
    if (e->broken) {  // its history must stay reachable: no checkpoint may pass it
      checkpointing_ = false;
      log_error("checkpoint held back by an actor that cannot be restored",
                {{"actor", to_string(key)}, {"reason", e->problem}});
      forget_broken(key);
      return;
    }
    if (e->sequence() <= e->saved) continue;
    batch->snapshots.push_back({key, e->sequence(), last, e->type().schema_hash(),
                                actors::deterministic_bytes(e->state()),
                                !e->type().effects(key, e->state()).empty()});
    saved.emplace_back(key, e->sequence());
  }
  writing_ = std::make_shared<decltype(recent_)>(std::exchange(recent_, {}));
  batch->generation = store_generation_;
  batch->checkpoint = StateStore::Checkpoint{next_offset_,
                                             fence_.epoch(),
                                             fence_.last_number(),
                                             fence_.head(),
                                             actors::deterministic_bytes(extra()),
                                             last_offset_,
                                             last_hash_};
  w_.metrics->snapshots.fetch_add(batch->snapshots.size(), std::memory_order_relaxed);
  w_.background([self = shared_from_this(), batch, rows = writing_, saved = std::move(saved),
                 next = next_offset_, generation = generation_] {
    for (const auto& [id, row] : *rows) batch->dedupe.push_back(row);
    auto written = self->w_.parts.store->write(self->id_, *batch);
    if (!written)
      log_error("checkpoint could not be written", {{"reason", written.error().message}});
    const bool ok = written.has_value() || planted(Bug::kStoreErrorIgnored);
    self->post([self, saved, next, generation, ok] {
      if (generation == self->generation_) self->checkpoint_written(saved, next, ok);
    });
  });
}

void Partition::checkpoint_written(const std::vector<std::pair<ActorKey, Sequence>>& saved,
                                   Offset next, bool ok) {
  checkpointing_ = false;
  if (!ok) {  // the tail stays as it was and is written next time
    for (const auto& [id, row] : *writing_) recent_.emplace(id, row);
    writing_.reset();
  } else {
    w_.background([rows = std::exchange(writing_, nullptr)] {});  // thousands to free
    for (const auto& [key, sequence] : saved)
      if (auto it = entities_.find(key); it != entities_.end()) it->second->saved = sequence;
    std::lock_guard lock(shared_mutex_);
    for (auto it = tail_.begin(); it != tail_.end();) {
      std::erase_if(it->second, [&](const auto& row) { return row.offset < next; });
      it = it->second.empty() ? tail_.erase(it) : std::next(it);
    }
  }
  publish_status();
  if (!round_) passivate();
  pump();
}

// Actors leave memory when long unused, and beyond the limit the longest unused first; their state
// is in the store. No command is with any of them.
void Partition::passivate() {
  if (!in_flight_.empty()) return;
  const std::size_t before = entities_.size();
  const auto stored = [this](const ActorKey& key, const Entity& e) {
    return e.loaded && !e.broken && e.sequence() == e.saved && !parked_.contains(key);
  };
  const auto idle_since = tick_ms_ - w_.parts.limits.idle_actor_ms;
  std::erase_if(entities_, [&](const auto& kept) {
    return kept.second->used_ms <= idle_since && stored(kept.first, *kept.second);
  });
  const std::size_t limit = w_.parts.limits.active_actors_per_partition;
  if (entities_.size() > limit) {
    std::vector<std::pair<std::uint64_t, ActorKey>> idle;
    for (const auto& [key, e] : entities_)
      if (stored(key, *e)) idle.emplace_back(e->last_used, key);
    const std::size_t leave = std::min(idle.size(), entities_.size() - limit);
    std::partial_sort(idle.begin(), idle.begin() + static_cast<std::ptrdiff_t>(leave), idle.end());
    for (std::size_t i = 0; i < leave; ++i) entities_.erase(idle[i].second);
  }
  const std::size_t left = before - entities_.size();
  w_.metrics->passivated.fetch_add(left, std::memory_order_relaxed);
  if (left > 0) publish_status();
}

}  // namespace soma::runtime
