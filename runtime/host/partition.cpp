// The way in: idempotency, bounds, the queue.
#include "runtime/host/partition.h"

#include <limits>

#include "runtime/telemetry/log.h"
#include "schemas/base/planted.h"

namespace soma::runtime {

namespace {
constexpr std::size_t kMaxShownEffects = 1000;
constexpr std::size_t kResendAtOnce = 256;
constexpr std::size_t kArrivalsAtOnce = 256;  // then frames that are done have their turn
constexpr auto kAllArrivals = std::numeric_limits<std::size_t>::max();
constexpr char kActorFull[] = "too many commands wait for this actor";
constexpr char kElsewhere[] = "this part of the data is served by another node";
}  // namespace

Partition::Partition(PartitionId id, std::shared_ptr<const PartitionWorld> world)
    : id_(id),
      world_(std::move(world)),
      w_(*world_),
      executor_(w_.executors->make()),
      intake_(w_.parts.limits),
      observed_(w_.parts.log->end(id).value) {
  status_.partition = id;
}

void Partition::post(std::function<void()> task) {
  executor_->post([self = weak_from_this(), task = std::move(task)] {
    if (auto alive = self.lock()) task();
  });
}

void Partition::submit(Submission submission, Host::OnAccepted done) {
  switch (intake_.enter(submission, done)) {
    case Intake::Entered::kActorFull:
      return overloaded(done, kActorFull);
    case Intake::Entered::kPartitionFull:
      return overloaded(done, "the partition's queue is full");
    case Intake::Entered::kFirst:
      return post([this] { take_arrivals(kArrivalsAtOnce); });
    case Intake::Entered::kBehindOthers:
      return;
  }
}

void Partition::take_arrivals(std::size_t most) {
  auto taken = intake_.take(most);
  for (auto& arrival : taken.arrivals) accept(std::move(arrival));
  if (taken.more) post([this] { take_arrivals(kArrivalsAtOnce); });
}

void Partition::overloaded(const Host::OnAccepted& done, const std::string& why) {
  w_.metrics->overloads.fetch_add(1, std::memory_order_relaxed);
  if (planted(Bug::kFullQueueDrops)) return;
  w_.metrics->refuse(Code::kOverloaded);
  done(fail(Code::kOverloaded, why + "; try again shortly"));
}

// It is being decided, or will not be.
void Partition::waits_no_more(Input& input) {
  if (auto it = redriven_.find(input.actor); input.recorded && it != redriven_.end())
    if (--it->second == 0) redriven_.erase(it);
  if (std::exchange(input.counted, false)) intake_.leave(input.actor, true);
}

void Partition::read(ActorKey actor, Host::OnState done) {
  post([this, actor = std::move(actor), done = std::move(done)]() mutable {
    const bool soon = phase_ == Phase::kRecovering && disk_full_;  // then it waits in the queue
    if (phase_ != Phase::kServing && phase_ != Phase::kReadOnly && !soon)
      return done(tl::unexpected(not_serving()));
    if (soon && queue_.size() >= w_.parts.limits.queue_per_partition)
      return done(fail(Code::kOverloaded, "the partition's queue is full; try again shortly"));
    Input input;
    input.kind = Input::Kind::kRead;
    input.actor = std::move(actor);
    input.on_state = std::move(done);
    enqueue(std::move(input));
  });
}

void Partition::accept(Intake::Arrival arrival) {
  auto& [s, done, counted] = arrival;
  const bool known =
      (phase_ == Phase::kServing || phase_ == Phase::kReadOnly) && !s.once && answer_known(s, done);
  if (known || phase_ != Phase::kServing) {
    intake_.leave(s.actor, counted);
    if (!known) done(tl::unexpected(not_serving()));
    return;
  }
  if (!counted && !intake_.count(s.actor)) {
    intake_.leave(s.actor, false);
    return overloaded(done, kActorFull);
  }
  if (!s.once) deciding_[s.command_id].request_hash = s.request_hash;
  Input input;
  input.once = s.once;
  input.actor = std::move(s.actor);
  input.command = std::move(s.command);
  input.request_hash = std::move(s.request_hash);
  input.context.set_command_id(std::move(s.command_id));
  *input.context.mutable_principal() = std::move(s.principal);
  input.context.set_correlation_id(s.correlation_id.empty() ? input.context.command_id()
                                                            : std::move(s.correlation_id));
  input.context.set_traceparent(std::move(s.traceparent));
  input.done = std::move(done);
  input.counted = true;
  enqueue(std::move(input));
}

bool Partition::answer_known(const Submission& s, const Host::OnAccepted& done) {
  if (planted(Bug::kDedupeSkipped)) return false;
  if (auto it = deciding_.find(s.command_id); it != deciding_.end()) {
    if (!s.request_hash.empty() && it->second.request_hash != s.request_hash) {
      w_.metrics->conflicts.fetch_add(1, std::memory_order_relaxed);
      w_.metrics->refuse(Code::kConflict);
      done(fail(Code::kConflict, "this idempotency key was used for another request",
                "Idempotency-Key"));
    } else {
      it->second.waiting.emplace_back(s.request_hash, done);
    }
    return true;
  }
  for (const auto* rows : {&std::as_const(recent_), writing_.get()}) {
    if (!rows) continue;
    if (auto it = rows->find(s.command_id); it != rows->end()) {
      answer_recorded(it->second, s.request_hash, done);
      return true;
    }
  }
  if (auto row = w_.parts.store->dedupe(id_, s.command_id)) {
    answer_recorded(*row, s.request_hash, done);
    return true;
  }
  return false;
}

void Partition::answer_recorded(const StateStore::DedupeRow& row, const std::string& hash,
                                const Host::OnAccepted& done) {
  if (!hash.empty() && row.request_hash != hash) {
    w_.metrics->conflicts.fetch_add(1, std::memory_order_relaxed);
    w_.metrics->refuse(Code::kConflict);
    return done(fail(Code::kConflict, "this idempotency key was used for another request",
                     "Idempotency-Key"));
  }
  w_.metrics->replays.fetch_add(1, std::memory_order_relaxed);
  done(Accepted{row.reply, row.position, row.sequence, true});
}

// What a client is told; `problem_` may name files and is the operator's.
Error Partition::not_serving() const {
  if (!here_ || leaving_) return {Code::kFenced, kElsewhere, {}};
  if (disk_full_) return {Code::kStorageFull, kDiskFull, {}};
  if (phase_ == Phase::kDraining || phase_ == Phase::kClosed)
    return {Code::kUnavailable, "the node is stopping", {}};
  return {Code::kUnavailable, "this part of the data is being recovered; try again shortly", {}};
}

// Of what was decided on memory that is gone.
Error Partition::decided_in_vain() const {
  if (dropped_full_) return {Code::kStorageFull, kDiskFull, {}};
  return {Code::kUnknownOutcome,
          "the command was not recorded; retry with the same Idempotency-Key",
          {}};
}

void Partition::enqueue(Input input) {
  queue_.push_back(std::move(input));
  if (std::exchange(pump_posted_, true)) return;
  post([this] {  // behind what has been posted already: one round takes all of it
    pump_posted_ = false;
    pump();
  });
}

void Partition::receive(PartitionId source, v1::OutboxItem item) {
  post([this, source, item = std::move(item)] {
    if ((phase_ != Phase::kServing && phase_ != Phase::kDraining) || leaving_)
      return;                                  // the source sends again when asked
    if (parked_inputs_ >= kMaxParked) return;  // waits at its source until there is room
    const std::uint64_t number = item.send().number();
    if (number <= high_water_[source.value]) return w_.acknowledge(source, id_, number);
    // Only the next one: a later one that overtook a resend would make the earlier ones look
    // applied.
    if (number != accepted_[source.value] + 1 && !planted(Bug::kRelayOvertakes)) return;
    accepted_[source.value] = number;
    Input input;
    input.kind = Input::Kind::kRelay;
    input.actor = actors::to_key(item.send().to());
    input.command = item.send().command();
    input.context = item.cause();
    input.context.set_command_id(item.send().command_id());
    input.position.set_source_partition(source.value);
    input.position.set_source_number(number);
    enqueue(std::move(input));
  });
}

void Partition::acknowledged(PartitionId target, std::uint64_t number) {
  post([this, target, number] {
    auto it = outbox_.find({target.value, number});
    if (it == outbox_.end()) return;
    if (target == id_) own_sends_.acknowledged(number, actors::to_key(it->second.send().to()));
    outbox_.erase(it);
  });
}

PartitionId Partition::target_of(const v1::OutboxItem& item) const {
  return partition_of(actors::to_key(item.send().to()), w_.parts.log->partition_count());
}

void Partition::resend_to(PartitionId target) {
  post([this, target] {
    if (phase_ == Phase::kClosed) return;  // the other partitions may be gone already
    for (auto it = outbox_.lower_bound({target.value, 0});
         it != outbox_.end() && it->first.first == target.value; ++it)
      w_.relay(id_, it->second);
  });
}

void Partition::abandon(Input& input, const Error& error) {
  if (input.done) input.done(tl::unexpected(error));
  if (input.on_state) read_in_vain(std::move(input.actor), std::move(input.on_state), error);
}

// A full disk takes memory away, and not what is recorded: that is read again.
void Partition::read_in_vain(ActorKey actor, Host::OnState done, const Error& error) {
  if (error.code == Code::kStorageFull) return read(std::move(actor), std::move(done));
  done(tl::unexpected(error));
}

// Everybody who waits for an answer is told `error`.
void Partition::refuse_all(const Error& error) {
  std::deque<Input> queue;
  queue.swap(queue_);
  for (Input& input : queue) {
    waits_no_more(input);
    abandon(input, error);
  }
  for (auto& [id, dedupe] : deciding_)
    for (auto& [hash, done] : dedupe.waiting) done(tl::unexpected(error));
  deciding_.clear();
}

// A send or its acknowledgement got lost on its way to or from another node. What did not move
// since the last call goes again.
void Partition::resend_stale() {
  post([this] {
    if (!here_) return;
    std::map<std::uint32_t, std::uint64_t> oldest;
    for (auto it = outbox_.begin(); it != outbox_.end();
         it = outbox_.lower_bound({it->first.first + 1, 0})) {
      const auto [target, number] = it->first;
      oldest[target] = number;
      const auto before = waited_.find(target);
      if (before == waited_.end() || before->second != number) continue;
      std::size_t sent = 0;
      for (auto item = it;
           item != outbox_.end() && item->first.first == target && sent < kResendAtOnce;
           ++item, ++sent)
        w_.relay(id_, item->second);
    }
    waited_ = std::move(oldest);
  });
}

void Partition::close(std::function<void()> closed) {
  post([this, closed = std::move(closed)]() mutable {
    take_arrivals(kAllArrivals);
    if (phase_ != Phase::kServing && phase_ != Phase::kDraining) {
      go_away();
      return closed();
    }
    leaving_ = true;
    phase_ = Phase::kDraining;
    drained_.push_back([this, closed = std::move(closed)] {
      go_away();
      closed();
    });
    want_checkpoint_ = true;
    pump();
  });
}

// Nothing of it is kept in memory; the snapshots stay, as a start for the next time.
void Partition::go_away() {
  const Error told{Code::kFenced, kElsewhere, {}};
  phase_ = Phase::kAway;
  readable_ = 0;
  here_ = false;
  leaving_ = false;
  disk_full_ = false;
  ++generation_;
  fail_all(told);
  refuse_all(told);
  checkpointing_ = want_checkpoint_ = again_ = false;
  writer_.reset();
  forget_states();
  forget_effects();
  problem_.clear();
  publish_status();
}

void Partition::claimed_elsewhere(Epoch epoch) {
  post([this, epoch] {
    if (here_ && fence_.epoch() < epoch && phase_ != Phase::kRecovering)
      fail_partition({Code::kFenced, "another node has claimed the partition", {}});
  });
}

void Partition::drain(std::function<void()> drained) {
  post([this, drained = std::move(drained)]() mutable {
    take_arrivals(kAllArrivals);
    draining_ = true;  // also for a partition that is just recovering
    end_standby();
    if (phase_ == Phase::kServing) phase_ = Phase::kDraining;
    if (phase_ != Phase::kDraining) return drained();  // nothing that could end well is under way
    drained_.push_back(std::move(drained));
    want_checkpoint_ = true;
    pump();
  });
}

void Partition::stop(std::function<void()> stopped) {
  post([this, stopped = std::move(stopped)] {
    take_arrivals(kAllArrivals);  // so that all of them are answered
    end_standby(false);
    phase_ = Phase::kClosed;
    readable_ = 0;
    ++generation_;
    fail_all(
        {Code::kUnknownOutcome, "the node is stopping; retry with the same Idempotency-Key", {}});
    refuse_all({Code::kUnavailable, "the node is stopping", {}});
    writer_.reset();
    entities_.clear();
    stopped();
  });
}

void Partition::redrive(ActorKey actor, std::function<void(Status)> done) {
  post([this, actor = std::move(actor), done = std::move(done)] {
    if (phase_ != Phase::kServing && phase_ != Phase::kDraining)
      return done(tl::unexpected(not_serving()));
    auto it = parked_.find(actor);
    if (it == parked_.end())
      return done(fail(Code::kNotFound, "no commands are parked for this actor"));
    it->second.again = again_ = true;
    parked_changed_ = true;
    publish_status();
    done({});
    pump();
  });
}

std::uint64_t Partition::readable() const {
  const std::uint64_t memory = readable_;
  return store_lost() && memory != kGivenUp ? 0 : memory;
}

void Partition::publish_status() {
  std::lock_guard lock(shared_mutex_);
  status_.epoch = fence_.epoch();
  status_.applied = next_offset_;
  status_.serving = phase_ == Phase::kServing;
  status_.active_actors = entities_.size();
  status_.queued = queue_.size();
  status_.parked = parked_.size();
  status_.pending_effects = ledger_.size();
  status_.frames_in_flight = in_flight_.size();
  status_.problem = problem_;
  const bool whole =
      phase_ == Phase::kServing || phase_ == Phase::kDraining || phase_ == Phase::kReadOnly;
  readable_ = whole ? generation_ : phase_ == Phase::kFenced ? kGivenUp : 0;
  if (!parked_changed_) return;
  parked_changed_ = false;
  parked_shown_.clear();
  for (const auto& [actor, parked] : parked_) {
    auto& shown = parked_shown_.emplace_back();
    shown.actor = actor;
    shown.reason = parked.reason;
    for (const auto& input : parked.inputs)
      shown.commands.push_back({input.context, input.command});
  }
}

Host::PartitionStatus Partition::status() const {
  std::lock_guard lock(shared_mutex_);
  auto out = status_;
  if (still_ && out.serving) {
    out.serving = false;
    out.problem = "it stands still, though the log takes appends";
  }
  return out;
}

std::vector<Host::PendingEffect> Partition::pending_effects() const {
  std::vector<Host::PendingEffect> out;
  std::lock_guard lock(ledger_mutex_);
  for (const auto& [key, items] : ledger_.all())
    for (const auto& [id, item] : items) {
      if (out.size() >= kMaxShownEffects) return out;
      out.push_back({key, item.effect,
                     item.state == EffectLedger::State::kRunning   ? "running"
                     : item.state == EffectLedger::State::kUnknown ? "unknown"
                                                                   : "pending",
                     item.since_ms, item.effect.request.size()});
      out.back().effect.request.clear();
    }
  return out;
}

std::vector<Host::ParkedActor> Partition::parked_actors() const {
  std::lock_guard lock(shared_mutex_);
  return parked_shown_;
}

std::vector<ActorKey> Partition::tail_actors(const std::string& tenant, const std::string& type,
                                             const ActorKey* after) const {
  std::lock_guard lock(shared_mutex_);
  std::vector<ActorKey> out;
  for (const auto& [key, rows] : tail_)
    if (key.tenant == tenant && (type.empty() || key.type == type) &&
        (!after || StateStore::store_order(*after, key)))
      out.push_back(key);
  return out;
}

std::vector<StateStore::HistoryRow> Partition::tail_history(const ActorKey& actor) const {
  std::lock_guard lock(shared_mutex_);
  std::vector<StateStore::HistoryRow> out;
  if (auto it = tail_.find(actor); it != tail_.end())
    for (const auto& row : it->second) out.push_back({actor, row.first, row.offset});
  return out;
}

void Partition::add_to_tail(const events::ValidFrame& valid) {
  std::lock_guard lock(shared_mutex_);
  for (const auto& touch : valid.frame->touched())
    if (touch.events() > 0)
      tail_[actors::to_key(touch.actor())].push_back(
          {Sequence{touch.first_sequence()}, valid.position.offset});
}

}  // namespace soma::runtime
