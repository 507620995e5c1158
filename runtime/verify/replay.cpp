// One thread takes partition after partition; what it has done is published a batch at a time.
#include "runtime/verify/replay.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "runtime/checks/decide_check.h"

namespace soma::runtime {

namespace {

constexpr auto kBetweenReports = std::chrono::milliseconds(200);

class PartitionReplay {
 public:
  PartitionReplay(const actors::Catalog& catalog, const ReplayOptions& options,
                  ReplayedPartition from)
      : catalog_(catalog), options_(options), done_(std::move(from)), resume_at_(done_.next) {}

  Status take(const events::ValidFrame& frame) {
    const bool again = frame.position.offset >= resume_at_;
    if (again && !checked_) {
      if (auto same = check_head(); !same) return same;
    }
    for (const auto& entry : frame.frame->entries())
      if (auto ok = take(frame, entry, again); !ok) return ok;
    head_ = frame.hash;
    if (!again) return {};
    ++done_.frames;
    done_.head = head_;
    return {};
  }
  // Of the whole partition, `next`: where the log ends.
  Status end(Offset next) {
    if (!checked_) {
      if (auto same = check_head(); !same) return same;
      if (next < resume_at_) return another_journal();
    }
    advance(next);
    return {};
  }
  void advance(Offset next) { done_.next = std::max(done_.next, next); }
  void voided(std::uint64_t records) { done_.voided = records; }
  const ReplayedPartition& done() const { return done_; }
  std::uint64_t actors() const { return actors_.size(); }

 private:
  struct Actor {
    const actors::ActorType* type = nullptr;
    std::unique_ptr<actors::Message> state, event;
    std::uint64_t sequence = 0;
    bool erased = false;  // some of its entries lack personal data: not decided again
  };

  static Status another_journal() {
    return fail(Code::kConflict, "the checkpoint is of another journal", "--resume");
  }
  Status check_head() {
    checked_ = true;
    return head_ == done_.head ? Status{} : another_journal();
  }

  Status take(const events::ValidFrame& frame, const v1::Entry& entry, bool again) {
    const ActorKey key = actors::to_key(entry.actor());
    Actor& actor = actors_[key];
    if (!actor.type) {
      actor.type = catalog_.find(key.type);
      if (!actor.type)
        return fail(Code::kNotSupported,
                    to_string(frame.position) + ": this build has no actor type " + key.type);
      actor.state = actor.type->new_state();
      actor.event = actor.type->new_event();
    }
    actor.erased |= entry.sealed_size() > 0;
    if (again) {
      done_.events += static_cast<std::uint64_t>(entry.events_size());
      decide(frame, entry, key, actor);
    }
    for (const auto& event : entry.events()) {
      if (event.sequence() != ++actor.sequence)
        return fail(Code::kCorrupt, to_string(frame.position) + ": " + to_string(key) +
                                        " has event " + std::to_string(event.sequence()) +
                                        " where " + std::to_string(actor.sequence) + " was due");
      if (!actor.event->ParseFromString(event.payload()))
        return fail(Code::kCorrupt, to_string(frame.position) + ": event " +
                                        std::to_string(event.sequence()) + " of " + to_string(key) +
                                        " does not parse");
      actor.type->evolve(*actor.state, *actor.event);
    }
    return {};
  }

  void decide(const events::ValidFrame& frame, const v1::Entry& entry, const ActorKey& key,
              const Actor& actor) {
    if (options_.wanted && !options_.wanted(key, frame.position, frame.frame->time_ms())) return;
    if (!entry.parked().empty()) {
      ++done_.parked;
      return;
    }
    if (actor.erased) {
      ++done_.erased;
      return;
    }
    ++done_.commands;
    checks::Findings found;
    check_.entry({frame, entry, key, *actor.type, *actor.state, actor.erased}, found);
    if (found.empty()) return;
    auto [it, first] = done_.divergences.try_emplace(key);
    if (first) it->second = {frame.position, actor.sequence, found.front().what, 0};
    ++it->second.commands;
  }

  const actors::Catalog& catalog_;
  const ReplayOptions& options_;
  checks::DecideCheck check_;
  ReplayedPartition done_;
  const Offset resume_at_;
  bool checked_ = false;
  std::string head_;  // of what was read
  std::unordered_map<ActorKey, Actor> actors_;
};

class Replay {
 public:
  Replay(const events::Log& log, const actors::Catalog& catalog, const ReplayOptions& options)
      : log_(log), catalog_(catalog), options_(options), done_(options.from) {
    done_.resize(log.partition_count());
    // The journal as it stands now: a node may go on writing.
    for (std::uint32_t p = 0; p < log.partition_count(); ++p)
      ends_.push_back(log.end(PartitionId{p}));
  }

  Result<ReplayReport> run() {
    const auto threads =
        std::clamp<std::uint32_t>(options_.jobs, 1, std::max(1u, log_.partition_count()));
    std::vector<std::thread> workers;
    left_ = threads;
    for (std::uint32_t i = 0; i < threads; ++i) workers.emplace_back([this] { work(); });
    watch();
    for (auto& w : workers) w.join();
    if (!failure_) return tl::unexpected(failure_.error());
    return ReplayReport{done_, actors_, ended_partitions_ < log_.partition_count()};
  }

 private:
  void watch() {
    std::unique_lock lock(mutex_);
    do {
      ended_.wait_for(lock, kBetweenReports, [&] { return left_ == 0; });
      if (!options_.on_progress) continue;
      const auto so_far = done_;
      lock.unlock();
      options_.on_progress(so_far);
      lock.lock();
    } while (left_ > 0);
  }

  void work() {
    for (std::uint32_t p = next_.fetch_add(1); p < log_.partition_count() && !stopped();
         p = next_.fetch_add(1)) {
      auto ok = guarded(PartitionId{p});
      std::lock_guard lock(mutex_);
      if (!ok && failure_) failure_ = ok;
      if (!ok) stop_ = true;
    }
    std::lock_guard lock(mutex_);
    --left_;
    ended_.notify_all();
  }

  Status guarded(PartitionId p) try { return partition(p); } catch (const std::exception& e) {
    return fail(Code::kInternal, "partition " + std::to_string(p.value) + ": " + e.what());
  }

  Status partition(PartitionId p) {
    ReplayedPartition from;
    {
      std::lock_guard lock(mutex_);
      from = done_[p.value];
    }
    PartitionReplay replay(catalog_, options_, std::move(from));
    events::FrameReader reader(log_, p);
    while (!stopped() && reader.next_offset() < ends_[p.value]) {
      auto frames = reader.next();
      if (!frames) return tl::unexpected(frames.error());
      if (frames->empty() && reader.next_offset() >= ends_[p.value]) break;
      for (const auto& frame : *frames) {
        if (frame.position.offset >= ends_[p.value]) break;
        if (auto ok = replay.take(frame); !ok) return ok;
      }
      replay.voided(reader.voided());
      replay.advance(std::min(reader.next_offset(), ends_[p.value]));
      publish(p, replay);
    }
    if (reader.next_offset() < ends_[p.value]) return {};  // stopped
    if (auto ok = replay.end(ends_[p.value]); !ok) return ok;
    publish(p, replay);
    std::lock_guard lock(mutex_);
    actors_ += replay.actors();
    ++ended_partitions_;
    return {};
  }

  bool stopped() {
    if (options_.stopped && options_.stopped()) stop_ = true;
    return stop_;
  }

  void publish(PartitionId p, const PartitionReplay& replay) {
    std::lock_guard lock(mutex_);
    done_[p.value] = replay.done();
  }

  const events::Log& log_;
  const actors::Catalog& catalog_;
  const ReplayOptions& options_;
  std::vector<Offset> ends_;
  std::atomic<std::uint32_t> next_{0};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::condition_variable ended_;
  std::uint32_t left_ = 0;
  std::vector<ReplayedPartition> done_;
  std::uint64_t actors_ = 0;
  std::uint32_t ended_partitions_ = 0;
  Status failure_;
};

}  // namespace

Result<ReplayReport> replay_journal(const events::Log& log, const actors::Catalog& catalog,
                                    const ReplayOptions& options) {
  if (!options.from.empty() && options.from.size() != log.partition_count())
    return fail(Code::kConflict, "the checkpoint is of another journal", "--resume");
  return Replay(log, catalog, options).run();
}

}  // namespace soma::runtime
