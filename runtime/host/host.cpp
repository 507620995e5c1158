// All partitions of one log, and what they share.
#include <algorithm>
#include <array>
#include <condition_variable>
#include <future>
#include <shared_mutex>
#include <thread>

#include "runtime/host/partition.h"
#include "runtime/host/stored_state.h"
#include "runtime/host/worker.h"
#include "runtime/telemetry/log.h"

namespace soma::runtime {

namespace {

constexpr std::int64_t kExpireEveryMs = 10 * 60 * 1000;
constexpr std::int64_t kResendEveryMs = 300;
constexpr std::int64_t kRecoveringRetryMs = 1000;  // what whoever asks meanwhile is told to wait

class HostImpl final : public PartitionHost {
 public:
  HostImpl(HostParts parts, std::unique_ptr<ExecutorFactory> executors, bool inline_background)
      : executors_(std::move(executors)), world_(std::make_shared<PartitionWorld>()) {
    if (!inline_background) background_ = std::make_unique<Worker>("soma-store");
    auto& w = *world_;
    w.parts = std::move(parts);
    w.entries = std::make_unique<const events::EntryReader>(*w.parts.log);
    if (!inline_background && w.parts.shared) {
      for (auto& prover : provers_) prover = std::make_unique<Worker>("soma-prove");
      aside_ = std::make_unique<Worker>("soma-standby");
    }
    for (auto& observer : w.parts.observers) on_frame(std::move(observer));
    w.executors = executors_.get();
    w.metrics = &metrics_;
    w.observe = [this](const events::ValidFrame& frame) { observe(frame); };
    w.relay = [this](PartitionId source, v1::OutboxItem item) { relay(source, std::move(item)); };
    w.acknowledge = [this](PartitionId source, PartitionId target, std::uint64_t number) {
      const auto& shared = world_->parts.shared;
      if (shared && !here(source)) return shared->acknowledge(source, target, number);
      partitions_[source.value]->acknowledged(target, number);
    };
    w.prove = [this](PartitionId p, std::function<void()> task) {
      auto& prover = provers_[p.value % provers_.size()];
      prover ? prover->post(std::move(task)) : task();
    };
    w.ask_resend = [this](PartitionId target) {
      for (auto& p : partitions_) p->resend_to(target);
    };
    w.background = [this](std::function<void()> task) {
      background_ ? background_->post(std::move(task)) : task();
    };
    w.aside = [this](std::function<void()> task) {
      aside_ ? aside_->post(std::move(task)) : task();
    };
    const std::uint32_t count = w.parts.log->partition_count();
    for (std::uint32_t i = 0; i < count; ++i)
      partitions_.push_back(std::make_shared<Partition>(PartitionId{i}, world_));
  }

  ~HostImpl() override {
    world_->stopping = true;  // first: a stop waits behind the recovery that its partition is in
    {
      std::lock_guard lock(ticks_->mutex);
      ticks_->host = nullptr;
    }
    if (background_) {  // under the testing scheduler nobody would run the stop; memory just goes
      std::vector<std::promise<void>> stopped(partitions_.size());
      for (std::size_t i = 0; i < stopped.size(); ++i)
        partitions_[i]->stop([&done = stopped[i]] { done.set_value(); });
      for (auto& done : stopped) done.get_future().wait();
    } else {
      for (auto& p : partitions_) p->forget();
    }
    background_.reset();
    for (auto& prover : provers_) prover.reset();
    if (aside_) aside_->stop();  // what it runs may post to it
    partitions_.clear();
    executors_.reset();
  }

  void start() {
    if (!world_->parts.shared)
      for (auto& p : partitions_) p->open();
    else
      schedule_resend();
    schedule_tick();
  }

  bool here(PartitionId partition) const override { return partitions_[partition.value]->here(); }
  void open(PartitionId partition, std::optional<Epoch> only_after) override {
    partitions_[partition.value]->open(only_after);
  }
  void close(PartitionId partition, std::function<void()> closed) override {
    partitions_[partition.value]->close(std::move(closed));
  }
  void claimed_elsewhere(PartitionId partition, Epoch epoch) override {
    partitions_[partition.value]->claimed_elsewhere(epoch);
  }
  void stand_by_for(const std::set<PartitionId>& wanted) override {
    for (auto& p : partitions_) p->stand_by(wanted.contains(p->id()));
  }
  void look_all() override {
    for (auto& p : partitions_) p->look();
  }
  Known known(PartitionId partition) override {
    auto checkpoint = usable_checkpoint(*world_->parts.log, *world_->parts.store, partition);
    if (!checkpoint || !*checkpoint) return {};  // recovery tells what is wrong
    PartitionFacts facts(static_cast<std::uint32_t>(partitions_.size()));
    // An earlier build's does not name the claim: that is looked for from the start.
    if (!facts.restore((*checkpoint)->extra) || facts.claim.node_id().empty()) return {};
    for (const auto& [source, number] : facts.high_water)
      world_->arrivals.reached(PartitionId{source}, partition, number);
    return {bookmark_of(**checkpoint), std::move(facts.claim)};
  }
  void followed(const events::ValidFrame& frame) override {
    world_->arrivals.take(frame);
    partitions_[frame.position.partition.value]->followed(frame);
  }
  std::vector<StandbyStatus> standbys() const override {
    std::vector<StandbyStatus> out;
    for (const auto& p : partitions_)
      if (auto standby = p->standby()) out.push_back(std::move(*standby));
    return out;
  }

  void receive(PartitionId source, PartitionId target, v1::OutboxItem item) override {
    partitions_[target.value]->receive(source, std::move(item));
  }
  void acknowledged(PartitionId source, PartitionId target, std::uint64_t number) override {
    partitions_[source.value]->acknowledged(target, number);
  }

  void submit(Submission submission, OnAccepted done) override {
    metrics_.commands.fetch_add(1, std::memory_order_relaxed);
    partition(submission.actor).submit(std::move(submission), std::move(done));
  }

  void read(ActorKey actor, OnState done) override {
    auto& p = partition(actor);
    p.read(std::move(actor), std::move(done));
  }

  std::uint64_t on_frame(OnFrame observer) override {
    std::unique_lock lock(observers_mutex_);
    observers_.emplace_back(++next_observer_, std::make_shared<OnFrame>(std::move(observer)));
    return next_observer_;
  }

  void remove_observer(std::uint64_t id) override {
    std::unique_lock lock(observers_mutex_);
    std::erase_if(observers_, [&](const auto& o) { return o.first == id; });
  }

  Result<std::vector<HistoryEvent>> history(const ActorKey& actor, Sequence after,
                                            std::size_t limit) const override {
    const PartitionId id = partition_of(actor, static_cast<std::uint32_t>(partitions_.size()));
    return whole<HistoryEvent>(
        id, [&](const Partition& p) { return history_in(p, actor, after, limit); });
  }

  std::vector<PartitionStatus> status() const override {
    std::vector<PartitionStatus> out;
    for (const auto& p : partitions_)
      if (!world_->parts.shared || p->here()) out.push_back(p->status());
    return out;
  }

  Result<std::vector<PendingEffect>> pending_effects() const override {
    return of_all<PendingEffect>([this](PartitionId id) { return pending_effects_in(id); });
  }

  Result<std::vector<ActorPlace>> actors(const std::string& tenant, const std::string& type,
                                         const std::optional<ActorPlace>& after,
                                         std::size_t limit) const override {
    std::vector<ActorPlace> out;
    for (const auto& p : partitions_) {
      if (after && p->id() < after->partition) continue;
      const ActorKey* from = after && after->partition == p->id() ? &after->actor : nullptr;
      auto more = actors_in(p->id(), tenant, type, from, limit - out.size());
      if (!more) return more;
      std::move(more->begin(), more->end(), std::back_inserter(out));
      if (out.size() >= limit) break;
    }
    return out;
  }

  Result<std::vector<ActorPlace>> actors_in(PartitionId id, const std::string& tenant,
                                            const std::string& type, const ActorKey* after,
                                            std::size_t limit) const override {
    return whole<ActorPlace>(id, [&](const Partition& p) {
      // The tail first: what moves to the store meanwhile is then seen twice, never missed.
      auto keys = p.tail_actors(tenant, type, after);
      for (auto& key : world_->parts.store->list(id, tenant, type, after, limit))
        keys.push_back(std::move(key));
      std::sort(keys.begin(), keys.end(), StateStore::store_order);
      keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
      std::vector<ActorPlace> out;
      for (auto& key : keys)
        if (out.size() < limit) out.push_back({id, std::move(key)});
      return out;
    });
  }

  Result<std::vector<PendingEffect>> pending_effects_in(PartitionId id) const override {
    return whole<PendingEffect>(id, [](const Partition& p) { return p.pending_effects(); });
  }

  Result<std::vector<ParkedActor>> parked_in(PartitionId id) const override {
    return whole<ParkedActor>(id, [](const Partition& p) { return p.parked_actors(); });
  }

  Result<std::vector<ParkedActor>> parked() const override {
    return of_all<ParkedActor>([this](PartitionId id) { return parked_in(id); });
  }

  bool drain(std::int64_t timeout_ms) override {
    struct Latch {
      std::mutex mutex;
      std::condition_variable changed;
      std::size_t left;
    };
    auto latch = std::make_shared<Latch>();
    latch->left = partitions_.size();
    for (auto& p : partitions_)
      p->drain([latch] {
        std::lock_guard lock(latch->mutex);
        --latch->left;
        latch->changed.notify_all();
      });
    std::unique_lock lock(latch->mutex);
    return latch->changed.wait_for(lock, std::chrono::milliseconds(timeout_ms),
                                   [&] { return latch->left == 0; });
  }

  void redrive(const ActorKey& actor, std::function<void(Status)> done) override {
    partition(actor).redrive(actor, std::move(done));
  }

  Status redrive(const ActorKey& actor) override {
    std::promise<Status> result;
    redrive(actor, [&](Status s) { result.set_value(std::move(s)); });
    return result.get_future().get();
  }

  const HostMetrics& metrics() const override { return metrics_; }

 private:
  Partition& partition(const ActorKey& actor) {
    return *partitions_[partition_of(actor, static_cast<std::uint32_t>(partitions_.size())).value];
  }

  // What `read` finds in memory and the store. While the partition recovers they hold a part of it:
  // that would be taken for all.
  template <typename T, typename Read>
  Result<std::vector<T>> whole(PartitionId id, Read read) const {
    const Partition& p = *partitions_[id.value];
    const std::uint64_t memory = p.here() ? p.readable() : 0;
    if (memory == Partition::kGivenUp) return fail(Code::kCorrupt, p.status().problem);
    if (memory != 0) {
      Result<std::vector<T>> out = read(p);
      if (p.readable() == memory) return out;
    }
    if (!p.here()) return fail(Code::kFenced, "the partition is another node's");
    return tl::unexpected(Error{Code::kUnavailable,
                                "this part of the data is being recovered; try again shortly",
                                {},
                                kRecoveringRetryMs});
  }

  template <typename T, typename Read>
  Result<std::vector<T>> of_all(Read read) const {
    std::vector<T> out;
    for (const auto& p : partitions_) {
      if (world_->parts.shared && !p->here()) continue;
      // One that was given up keeps nobody from the others; its status tells of it.
      if (p->here() && p->readable() == Partition::kGivenUp) continue;
      auto more = read(p->id());
      if (!more) return more;
      std::move(more->begin(), more->end(), std::back_inserter(out));
    }
    return out;
  }

  Result<std::vector<HistoryEvent>> history_in(const Partition& p, const ActorKey& actor,
                                               Sequence after, std::size_t limit) const {
    // The tail first: what moves to the store meanwhile is then seen twice, never missed.
    auto tail = p.tail_history(actor);
    auto rows = world_->parts.store->history(p.id(), actor, after, limit);
    rows.insert(rows.end(), tail.begin(), tail.end());
    std::vector<HistoryEvent> out;
    std::uint64_t last = after.value;
    std::optional<Offset> read;  // an actor may have several rows in one frame
    for (const auto& row : rows) {
      if (std::exchange(read, row.offset) == row.offset) continue;
      const Position at{p.id(), row.offset};
      auto entries = world_->entries->read(at, actor);
      if (!entries) return tl::unexpected(entries.error());
      for (const auto& entry : *entries) {
        for (const auto& event : entry.events()) {
          if (event.sequence() != last + 1) continue;
          out.push_back({actor, event, entry.context(), at});
          last = event.sequence();
          if (out.size() >= limit) return out;
        }
      }
    }
    return out;
  }

  void relay(PartitionId source, v1::OutboxItem item) {
    metrics_.relayed.fetch_add(1, std::memory_order_relaxed);
    const PartitionId target = partition(actors::to_key(item.send().to())).id();
    const auto& shared = world_->parts.shared;
    if (shared && !here(target)) return shared->relay(source, target, std::move(item));
    partitions_[target.value]->receive(source, std::move(item));
  }

  void observe(const events::ValidFrame& frame) {
    std::vector<std::shared_ptr<OnFrame>> observers;
    {
      std::shared_lock lock(observers_mutex_);
      for (const auto& [id, o] : observers_) observers.push_back(o);
    }
    for (const auto& o : observers) (*o)(frame);
  }

  struct Ticks {
    explicit Ticks(HostImpl* h) : host(h) {}
    std::mutex mutex;
    HostImpl* host;
  };
  void watch(Partition& p) const {
    if (!background_) return;
    p.watch(std::none_of(partitions_.begin(), partitions_.end(),
                         [](const auto& other) { return other->recovering(); }));
  }
  // Keys of requests that nobody repeats any more.
  void expire_dedupe() {
    const auto& w = *world_;
    const std::int64_t now = w.parts.clock->now_ms();
    if (now - expired_ms_ < kExpireEveryMs) return;
    expired_ms_ = now;
    w.parts.store->expire_dedupe(now - w.parts.limits.dedupe_keep_ms);
  }
  void schedule_resend() {
    auto& clock = *world_->parts.clock;
    clock.call_in(kResendEveryMs, [ticks = ticks_] {
      std::lock_guard lock(ticks->mutex);
      if (!ticks->host) return;
      for (auto& p : ticks->host->partitions_) p->resend_stale();
      ticks->host->schedule_resend();
    });
  }
  // One after the other: checkpoints of all at once would hold up every command for a moment.
  void schedule_tick() {
    auto& clock = *world_->parts.clock;
    const auto count = static_cast<std::int64_t>(partitions_.size());
    const std::int64_t apart = (world_->parts.limits.checkpoint_every_ms + count - 1) / count;
    clock.call_in(apart, [ticks = ticks_] {
      std::lock_guard lock(ticks->mutex);
      if (!ticks->host) return;
      auto& host = *ticks->host;
      auto& p = host.partitions_[host.next_tick_];
      host.watch(*p);
      p->tick();
      p->look();
      host.next_tick_ = (host.next_tick_ + 1) % host.partitions_.size();
      if (host.next_tick_ == 0) host.expire_dedupe();
      host.schedule_tick();
    });
  }

  HostMetrics metrics_;
  std::unique_ptr<ExecutorFactory> executors_;
  std::shared_ptr<PartitionWorld> world_;
  std::unique_ptr<Worker> background_;              // store writes, off the commit path
  std::array<std::unique_ptr<Worker>, 4> provers_;  // reads of the log for reads of states
  std::unique_ptr<Worker> aside_;                   // standbys
  std::vector<std::shared_ptr<Partition>> partitions_;
  std::shared_mutex observers_mutex_;
  std::vector<std::pair<std::uint64_t, std::shared_ptr<OnFrame>>> observers_;
  std::uint64_t next_observer_ = 0;
  std::int64_t expired_ms_ = 0;
  std::size_t next_tick_ = 0;  // the partition that has it
  std::shared_ptr<Ticks> ticks_ = std::make_shared<Ticks>(this);
};

Status check(const HostParts& parts) {
  if (!parts.log || !parts.catalog || !parts.clock || !parts.effects || !parts.store)
    return fail(Code::kInternal, "a part of the host is missing");
  return parts.log->health();
}

}  // namespace

Result<std::unique_ptr<PartitionHost>> start_host(HostParts parts) {
  if (auto ok = check(parts); !ok) return tl::unexpected(ok.error());
  const std::size_t threads = parts.threads;
  auto host = std::make_unique<HostImpl>(std::move(parts), make_caf_executors(threads), false);
  host->start();
  return std::unique_ptr<PartitionHost>(std::move(host));
}

Result<std::unique_ptr<PartitionHost>> start_host_on(HostParts parts,
                                                     std::unique_ptr<ExecutorFactory> executors) {
  if (auto ok = check(parts); !ok) return tl::unexpected(ok.error());
  auto host = std::make_unique<HostImpl>(std::move(parts), std::move(executors), true);
  host->start();
  return std::unique_ptr<PartitionHost>(std::move(host));
}

}  // namespace soma::runtime
