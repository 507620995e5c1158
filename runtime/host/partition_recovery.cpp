// Claim, read back, serve; and dropping everything when the log and memory may differ.
#include <algorithm>
#include <chrono>

#include "runtime/host/partition.h"
#include "runtime/host/stored_state.h"
#include "runtime/telemetry/log.h"
#include "schemas/base/planted.h"

namespace soma::runtime {

namespace {
constexpr std::int64_t kMaxBackOffMs = 5000;
constexpr std::int64_t kSpaceCheckMs = 250;
constexpr std::int64_t kRestoreAgainMs = 1000;

std::uint64_t events_in(const events::ValidFrame& frame) {
  std::uint64_t out = 0;
  for (const auto& entry : frame.frame->entries())
    out += static_cast<std::uint64_t>(entry.events_size());
  return out;
}
}  // namespace

void Partition::open(std::optional<Epoch> only_after) {
  here_ = true;
  post([this, only_after] {
    here_ = true;
    only_after_ = only_after;
    if (phase_ != Phase::kServing && phase_ != Phase::kDraining) own_epoch_.reset();
    if (phase_ == Phase::kClosed || phase_ == Phase::kAway || phase_ == Phase::kFenced) recover();
  });
}

void Partition::recover_after(std::int64_t ms) {
  w_.parts.clock->call_in(ms, [self = weak_from_this()] {
    auto alive = self.lock();
    if (!alive) return;
    alive->post([p = alive.get()] {
      if (p->phase_ == Phase::kRecovering) p->recover();
    });
  });
}

void Partition::recover() {
  if (w_.stopping || (phase_ == Phase::kClosed && generation_ > 0)) return;
  phase_ = Phase::kRecovering;
  readable_ = 0;
  ++generation_;
  w_.metrics->recoveries.fetch_add(1, std::memory_order_relaxed);
  const auto began = std::chrono::steady_clock::now();
  reading_ = true;
  events_since_checkpoint_ = 0;
  auto done = claim_and_read();
  reading_ = false;
  w_.metrics->recovery_us.fetch_add(
      static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(
                                     std::chrono::steady_clock::now() - began)
                                     .count()),
      std::memory_order_relaxed);
  if (!done && w_.stopping) return;  // the stop comes next
  if (!done && done.error().code == Code::kStorageFull) return serve_reads(done.error());
  if (!done) {
    problem_ = done.error().message;
    const bool final = done.error().code == Code::kCorrupt;
    if (final) phase_ = Phase::kFenced;
    const auto tell = done.error().code == Code::kUnavailable ? log_warn : log_error;  // it passes
    tell("partition cannot be served",
         {{"partition", std::to_string(id_.value)}, {"reason", problem_}});
    disk_full_ = false;
    refuse_all(not_serving());
    publish_status();
    if (final) return;
    if (done.error().code == Code::kFenced && w_.parts.shared) return fail_partition(done.error());
    back_off_ms_ = std::min(kMaxBackOffMs, back_off_ms_ * 2);
    return recover_after(back_off_ms_);
  }
  back_off_ms_ = 20;
  problem_.clear();
  disk_full_ = false;
  phase_ = draining_ ? Phase::kDraining : Phase::kServing;
  want_checkpoint_ = draining_;
  last_checkpoint_ms_ = w_.parts.clock->steady_ms();
  std::set<ActorKey> pending;
  for (auto& key : w_.parts.store->with_pending(id_)) pending.insert(std::move(key));
  if (store_lost()) return fail_partition({Code::kUnknownOutcome, kStoreLost, {}});
  {
    std::lock_guard lock(shared_mutex_);
    for (const auto& [key, rows] : tail_)
      if (const auto* type = w_.parts.catalog->find(key.type); !type || type->has_effects())
        pending.insert(key);
  }
  if (!planted(Bug::kEffectNotRearmed)) restore_pending({pending.begin(), pending.end()});
  for (const auto& [key, item] : outbox_) w_.relay(id_, item);
  w_.ask_resend(id_);
  publish_status();
  if (events_since_checkpoint_ < w_.parts.limits.checkpoint_every_events) return;
  want_checkpoint_ = true;  // what was read must not have to be read again by the next recovery
  pump();
}

// Without space there is no claim, so nothing may be decided or started. All that is recorded can
// be shown: memory holds the log to its end, which nobody moves while it takes no appends.
void Partition::serve_reads(const Error& why) {
  log_error("partition is read-only",
            {{"partition", std::to_string(id_.value)}, {"reason", why.message}});
  phase_ = Phase::kReadOnly;
  disk_full_ = true;
  problem_ = "the disk is full";
  publish_status();
  pump();
  wait_for_space();
}

void Partition::wait_for_space() {
  w_.parts.clock->call_in(kSpaceCheckMs, [self = weak_from_this()] {
    auto alive = self.lock();
    if (!alive) return;
    alive->post([p = alive.get()] {
      if (p->phase_ != Phase::kReadOnly) return;
      if (!p->w_.parts.log->health()) return p->wait_for_space();
      p->dropped_full_ = true;
      p->fail_all({Code::kStorageFull, kDiskFull, {}});  // reads that are with an actor: once more
      p->recover();
    });
  });
}

// What the log holds and is read back from it.
void Partition::forget_states() {
  entities_.clear();
  recent_.clear();
  writing_.reset();
  parked_.clear();
  outcomes_.clear();
  parked_inputs_ = 0;
  again_ = false;
  parked_changed_ = true;
  outbox_.clear();
  own_sends_.clear();
  high_water_.clear();
  last_sent_.clear();
  std::lock_guard lock(shared_mutex_);
  tail_.clear();
}

Status Partition::claim_and_read() {
  // While no append can be taken a claim would only hold this thread until it times out. On a full
  // disk all is read nevertheless: what memory holds may be ahead of the log.
  const Status able = w_.parts.log->health();
  if (!able && able.error().code != Code::kStorageFull) return able;
  const auto usable_store = [&] {
    const auto& shared = w_.parts.shared;
    return shared && shared->before_claim ? shared->before_claim() : Status{};
  };
  if (auto ok = usable_store(); !ok) return ok;
  end_standby();
  store_generation_ = w_.parts.store->generation();
  auto usable = usable_checkpoint(*w_.parts.log, *w_.parts.store, id_);
  if (!usable) return tl::unexpected(usable.error());
  const auto& checkpoint = *usable;
  const events::Bookmark from = checkpoint ? bookmark_of(*checkpoint) : events::Bookmark{};
  if (!from.last_hash.empty() && from.last.value >= observed_ && !planted(Bug::kForeignUnseen))
    return fail(Code::kUnavailable, "what other nodes wrote there is still being followed");
  forget_effects();
  forget_states();
  PartitionFacts facts(w_.parts.log->partition_count());
  if (checkpoint)
    if (auto ok = facts.restore(checkpoint->extra); !ok) return ok;
  bool taken = false;
  const auto read_tail = [&](const events::ValidFrame& frame) {
    taken =
        taken || (own_epoch_ && Epoch{frame.frame->epoch()} > *own_epoch_ &&
                  frame.frame->has_claim() && frame.frame->claim().node_id() != w_.parts.node_id);
    observe(frame);
    add_to_tail(frame);
    facts.take(frame);
    events_since_checkpoint_ += events_in(frame);
    w_.metrics->recovered_frames.fetch_add(1, std::memory_order_relaxed);
  };
  events::FrameReader reader(*w_.parts.log, id_, from);
  for (;;) {
    if (w_.stopping) return fail(Code::kUnavailable, "the node is stopping");
    auto frames = reader.next();
    if (!frames) return tl::unexpected(frames.error());
    if (frames->empty()) break;
    for (const auto& frame : *frames) read_tail(frame);
  }
  fence_ = reader.fence();
  next_offset_ = reader.next_offset();
  if (only_after_ && fence_.epoch() != *only_after_)
    return fail(Code::kFenced, "another node has claimed the partition since it was handed over");
  only_after_.reset();
  if (taken) return fail(Code::kFenced, "another node has claimed the partition meanwhile");
  if (!able) {
    adopt(std::move(facts));
    return able;
  }
  auto writer = events::FrameWriter::claim(*w_.parts.log, reader, own_claim(),
                                           w_.parts.clock->now_ms(), read_tail);
  if (!writer) {
    adopt(std::move(facts));
    return tl::unexpected(writer.error());
  }
  if (auto ok = usable_store(); !ok) {  // whoever erases knows of this claim from now on
    adopt(std::move(facts));
    return ok;
  }
  writer_ = std::move(*writer);
  took_over(reader, std::move(facts));
  return {};
}

v1::Claim Partition::own_claim() const {
  v1::Claim claim;
  claim.set_node_id(w_.parts.node_id);
  claim.set_address(w_.parts.address);
  return claim;
}

void Partition::took_over(const events::FrameReader& reader, PartitionFacts facts) {
  fence_ = reader.fence();
  if (w_.parts.shared) own_epoch_ = fence_.epoch();
  next_offset_ = reader.next_offset();
  observed_ = std::max(observed_.load(), next_offset_.value);  // the claim itself tells nothing
  last_offset_ = reader.bookmark().last;
  last_hash_ = reader.bookmark().last_hash;
  adopt(std::move(facts));
  accepted_ = high_water_;
  for (const auto& [at, item] : outbox_)
    if (at.first == id_.value)
      own_sends_.found(at.second, actors::to_key(item.send().to()),
                       at.second <= high_water_[id_.value]);
  w_.metrics->voids.fetch_add(reader.voided(), std::memory_order_relaxed);
}

void Partition::adopt(PartitionFacts facts) {
  last_sent_ = std::move(facts.last_sent);
  high_water_ = std::move(facts.high_water);
  outbox_ = std::move(facts.outbox);
  recent_ = std::move(facts.recent);
  for (auto& [actor, waiting] : facts.parked) {
    auto& parked = parked_[actor];
    parked.reason = std::move(waiting.reason);
    for (auto& entry : waiting.commands) {
      Input input;
      input.kind = Input::Kind::kLocal;
      input.actor = actor;
      input.command = std::move(*entry.mutable_command());
      input.context = std::move(*entry.mutable_context());
      input.retried = input.recorded = true;
      parked.inputs.push_back(std::move(input));
      ++parked_inputs_;
    }
  }
}

// Also frames whose outcome nobody knew when they were written, and which the log turned out to
// hold.
void Partition::observe(const events::ValidFrame& frame) {
  if (frame.position.offset.value < observed_) return;
  observed_ = frame.position.offset.next().value;
  if (planted(Bug::kObserverGap) && phase_ == Phase::kRecovering) return;
  w_.observe(frame);
}

void Partition::restore_pending(std::vector<ActorKey> actors) {
  for (auto& key : actors) {
    Input input;
    input.kind = Input::Kind::kRestore;
    input.actor = std::move(key);
    queue_.push_back(std::move(input));
  }
  pump();
}

// Its effects wait for it: a read that failed once is no reason to forget them.
void Partition::restore_later(const ActorKey& actor) {
  w_.parts.clock->call_in(kRestoreAgainMs,
                          [self = weak_from_this(), actor, generation = generation_] {
                            auto alive = self.lock();
                            if (!alive) return;
                            alive->post([p = alive.get(), actor, generation] {
                              if (generation == p->generation_) p->restore_pending({actor});
                            });
                          });
}

// What is with its actor just now is told when it comes back.
void Partition::fail_all(const Error& error) {
  const auto in_flight = std::exchange(in_flight_, {});
  auto aside = std::exchange(aside_, {});
  for (auto* more : {&to_prove_, &in_proof_}) {
    std::move(more->begin(), more->end(), std::back_inserter(aside));
    more->clear();
  }
  const auto entries = std::exchange(entries_, {});
  auto retry = std::exchange(retry_, {});
  round_ = false;
  outstanding_ = 0;
  for (const auto& pending : in_flight) pending->fail(error);
  for (const auto& c : aside) c.failed(error);
  for (const auto& work : entries) abandon(work->input, error);
  for (Input& input : retry) abandon(input, error);
}

// Memory may be ahead of the log: all of it goes, and is read back under a new claim.
void Partition::fail_partition(const Error& error) {
  log_error("partition dropped",
            {{"partition", std::to_string(id_.value)}, {"reason", error.message}});
  phase_ = Phase::kRecovering;
  readable_ = 0;
  problem_ = error.message;
  ++generation_;
  Error told = error;
  disk_full_ = dropped_full_ = told.code == Code::kStorageFull;
  if (disk_full_)
    told.message = kDiskFull;
  else
    told = {Code::kUnknownOutcome,
            "whether the command was recorded is not known; retry with the same Idempotency-Key",
            {}};
  fail_all(told);
  refuse_all(told);
  checkpointing_ = false;
  want_checkpoint_ = false;
  writer_.reset();
  forget_effects();
  if (w_.parts.shared && (leaving_ || error.code == Code::kFenced)) {
    const bool fenced = !leaving_;
    go_away();
    for (auto& done : std::exchange(drained_, {})) done();
    if (fenced) w_.parts.shared->on_fenced(id_);
    return;
  }
  publish_status();
  if (disk_full_) return recover();  // to read-only, at once
  recover_after(back_off_ms_);
}

}  // namespace soma::runtime
