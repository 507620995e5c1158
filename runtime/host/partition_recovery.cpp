// Claim, read back, serve; and dropping everything when the log and memory may differ.
#include <algorithm>

#include "runtime/host/partition.h"
#include "runtime/telemetry/log.h"
#include "schemas/base/planted.h"

namespace soma::runtime {

namespace {
constexpr std::int64_t kMaxBackOffMs = 5000;
constexpr std::int64_t kSpaceCheckMs = 250;
constexpr std::int64_t kRestoreAgainMs = 1000;

events::Bookmark bookmark_of(const StateStore::Checkpoint& c) {
  return {c.next, events::Fence(c.epoch, c.number, c.head), c.last, c.last_hash};
}

// The store's checkpoint, if the log bears it out. Without one nothing in the store counts, and the
// partition's rows are dropped.
Result<std::optional<StateStore::Checkpoint>> usable_checkpoint(const HostParts& parts,
                                                                PartitionId id) {
  auto checkpoint = parts.store->checkpoint(id);
  if (checkpoint && checkpoint->next > parts.log->end(id))
    return fail(Code::kCorrupt,
                "the log ends at " + std::to_string(parts.log->end(id).value) +
                    ", before the snapshots' position " + std::to_string(checkpoint->next.value) +
                    ": it lost its tail or is another log; if that is known, remove the "
                    "snapshots folder");
  if (checkpoint) {
    auto ours = events::holds(*parts.log, id, bookmark_of(*checkpoint));
    if (!ours) return tl::unexpected(ours.error());
    if (!*ours) {
      log_warn("snapshots stem from another log; they are not used",
               {{"partition", id.value}, {"offset", checkpoint->next.value}});
      checkpoint.reset();
    }
  }
  if (!checkpoint)
    if (auto dropped = parts.store->drop(id); !dropped) return tl::unexpected(dropped.error());
  return checkpoint;
}
}  // namespace

void Partition::open() {
  here_ = true;
  post([this] {
    here_ = true;
    if (phase_ == Phase::kClosed || phase_ == Phase::kAway || phase_ == Phase::kFenced) recover();
  });
}

void Partition::recover_after(std::int64_t ms) {
  w_.parts.clock->call_at(w_.parts.clock->now_ms() + ms, [self = weak_from_this()] {
    auto alive = self.lock();
    if (!alive) return;
    alive->post([p = alive.get()] {
      if (p->phase_ == Phase::kRecovering) p->recover();
    });
  });
}

void Partition::recover() {
  if (phase_ == Phase::kClosed && generation_ > 0) return;  // stopped
  phase_ = Phase::kRecovering;
  ++generation_;
  w_.metrics->recoveries.fetch_add(1, std::memory_order_relaxed);
  auto done = claim_and_read();
  if (!done && done.error().code == Code::kStorageFull) return serve_reads(done.error());
  if (!done) {
    problem_ = done.error().message;
    const bool final = done.error().code == Code::kCorrupt;
    if (final) phase_ = Phase::kFenced;
    log_error("partition cannot be served",
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
  last_checkpoint_ms_ = w_.parts.clock->now_ms();
  std::set<ActorKey> pending;
  for (auto& key : w_.parts.store->with_pending(id_)) pending.insert(std::move(key));
  if (store_lost()) return fail_partition({Code::kUnknownOutcome, kStoreLost, {}});
  {
    std::lock_guard lock(shared_mutex_);
    for (const auto& [key, rows] : tail_) pending.insert(key);
  }
  if (!planted(Bug::kEffectNotRearmed)) restore_pending({pending.begin(), pending.end()});
  for (const auto& [key, item] : outbox_) w_.relay(id_, item);
  w_.ask_resend(id_);
  publish_status();
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
  w_.parts.clock->call_at(w_.parts.clock->now_ms() + kSpaceCheckMs, [self = weak_from_this()] {
    auto alive = self.lock();
    if (!alive) return;
    alive->post([p = alive.get()] {
      if (p->phase_ != Phase::kReadOnly) return;
      if (p->w_.parts.log->health())
        p->recover();
      else
        p->wait_for_space();
    });
  });
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
  store_generation_ = w_.parts.store->generation();
  auto usable = usable_checkpoint(w_.parts, id_);
  if (!usable) return tl::unexpected(usable.error());
  const auto& checkpoint = *usable;
  const events::Bookmark from = checkpoint ? bookmark_of(*checkpoint) : events::Bookmark{};
  entities_.clear();
  {
    std::lock_guard lock(ledger_mutex_);
    ledger_.clear();
  }
  recent_.clear();
  writing_.clear();
  parked_.clear();
  outcomes_.clear();
  parked_inputs_ = 0;
  again_ = false;
  parked_changed_ = true;
  outbox_.clear();
  high_water_.clear();
  last_sent_.clear();
  {
    std::lock_guard lock(shared_mutex_);
    tail_.clear();
  }
  if (checkpoint) {
    v1::PartitionExtra extra;
    if (!extra.ParseFromString(checkpoint->extra))
      return fail(Code::kInternal, "the checkpoint does not parse");
    for (const auto& mark : extra.last_sent())
      last_sent_[mark.source_partition()] = mark.source_number();
    for (const auto& mark : extra.high_water())
      high_water_[mark.source_partition()] = mark.source_number();
    for (const auto& item : extra.outbox())
      outbox_[{target_of(item).value, item.send().number()}] = item;
    for (const auto& entry : extra.parked()) read_parked(entry);
  }
  events::FrameReader reader(*w_.parts.log, id_, from);
  for (;;) {
    auto frames = reader.next();
    if (!frames) return tl::unexpected(frames.error());
    if (frames->empty()) break;
    for (const auto& frame : *frames) read_tail(frame);
  }
  fence_ = reader.fence();
  next_offset_ = reader.next_offset();
  if (!able) return able;
  v1::Claim claim;
  claim.set_node_id(w_.parts.node_id);
  claim.set_address(w_.parts.address);
  auto writer =
      events::FrameWriter::claim(*w_.parts.log, reader, std::move(claim), w_.parts.clock->now_ms(),
                                 [this](const events::ValidFrame& frame) { read_tail(frame); });
  if (!writer) return tl::unexpected(writer.error());
  if (auto ok = usable_store(); !ok) return ok;  // whoever erases knows of this claim from now on
  writer_ = std::move(*writer);
  fence_ = reader.fence();
  next_offset_ = reader.next_offset();
  last_offset_ = reader.bookmark().last;
  last_hash_ = reader.bookmark().last_hash;
  accepted_ = high_water_;
  w_.metrics->voids.fetch_add(reader.voided(), std::memory_order_relaxed);
  return {};
}

void Partition::read_tail(const events::ValidFrame& valid) {
  const auto& frame = *valid.frame;
  observe(valid);
  add_to_tail(valid);
  for (int i = 0; i < frame.entries_size(); ++i) {
    const auto& entry = frame.entries(i);
    const ActorKey actor = actors::to_key(entry.actor());
    if (entry.has_input())
      high_water_[entry.input().source_partition()] = entry.input().source_number();
    for (const auto& send : entry.sends()) {
      if (send.number() == 0 || planted(Bug::kOutboxForgotten)) continue;
      const PartitionId target =
          partition_of(actors::to_key(send.to()), w_.parts.log->partition_count());
      auto& item = outbox_[{target.value, send.number()}];
      *item.mutable_send() = send;
      *item.mutable_cause() = entry.context();
      item.mutable_cause()->set_causation_id(entry.events_size()
                                                 ? entry.events(entry.events_size() - 1).event_id()
                                                 : entry.context().command_id());
      *item.mutable_from() = entry.actor();
      last_sent_[target.value] = send.number();
    }
    read_parked(entry);
    if (!entry.context().causation_id().empty()) continue;  // not a client's
    const std::uint64_t last = entry.events_size()
                                   ? entry.events(entry.events_size() - 1).sequence()
                               : i < frame.touched_size() ? frame.touched(i).first_sequence()
                                                          : 0;
    recent_[entry.context().command_id()] = {entry.context().command_id(),
                                             entry.request_hash(),
                                             actor,
                                             valid.position,
                                             Sequence{last},
                                             entry.reply(),
                                             entry.context().now_ms()};
  }
}

// A parked command waits, until the same command stands in the log as run.
void Partition::read_parked(const v1::Entry& entry) {
  const ActorKey actor = actors::to_key(entry.actor());
  const auto same = [&](const Input& i) {
    return i.context.command_id() == entry.context().command_id();
  };
  auto it = parked_.find(actor);
  if (entry.parked().empty()) {
    if (it == parked_.end()) return;
    parked_inputs_ -= std::erase_if(it->second.inputs, same);
    if (it->second.inputs.empty()) parked_.erase(it);
    return;
  }
  if (planted(Bug::kParkedForgotten)) return;
  auto& parked = parked_[actor];
  auto& inputs = parked.inputs;
  if (inputs.empty()) parked.reason = entry.parked();
  if (std::any_of(inputs.begin(), inputs.end(), same)) return;
  Input input;
  input.kind = Input::Kind::kLocal;
  input.actor = actor;
  input.command = entry.command();
  input.context = entry.context();
  input.retried = input.recorded = true;
  inputs.push_back(std::move(input));
  ++parked_inputs_;
}

// Also frames whose outcome nobody knew when they were written, and which the log turned out to
// hold.
void Partition::observe(const events::ValidFrame& frame) {
  if (frame.position.offset < observed_) return;
  observed_ = frame.position.offset.next();
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
  w_.parts.clock->call_at(w_.parts.clock->now_ms() + kRestoreAgainMs,
                          [self = weak_from_this(), actor, generation = generation_] {
                            auto alive = self.lock();
                            if (!alive) return;
                            alive->post([p = alive.get(), actor, generation] {
                              if (generation == p->generation_) p->restore_pending({actor});
                            });
                          });
}

void Partition::load(Entity& entity, PartitionId id, const PartitionWorld& world,
                     const std::vector<StateStore::HistoryRow>& tail) {
  entity.loaded = entity.asked = true;
  const auto& key = entity.key();
  auto snapshot = world.parts.store->load(id, key);
  if (snapshot && snapshot->schema_hash == entity.type().schema_hash())
    if (auto ok = entity.restore(snapshot->sequence, snapshot->state); !ok) {
      entity.broken = true;
      entity.problem = ok.error().message;
      return;
    }
  auto fold = [&](Offset offset) -> Status {
    auto frame = events::read_frame_at(*world.parts.log, Position{id, offset});
    if (!frame) return tl::unexpected(frame.error());
    for (const auto& entry : frame->frame->entries()) {
      if (!(actors::to_key(entry.actor()) == key)) continue;
      for (const auto& event : entry.events())
        if (auto ok = entity.apply(event); !ok) return ok;
    }
    return {};
  };
  Status status;
  for (bool more = true; more && status;) {
    constexpr std::size_t kPage = 256;
    auto rows = world.parts.store->history(id, key, entity.sequence(), kPage);
    const Sequence before = entity.sequence();
    for (const auto& row : rows)
      if (status && row.first > before) status = fold(row.offset);
    more = rows.size() == kPage && entity.sequence() > before;
  }
  for (const auto& row : tail)
    if (status && !planted(Bug::kStaleSnapshotWins)) status = fold(row.offset);
  if (!status) {
    entity.broken = true;
    entity.problem = status.error().message;
  }
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
