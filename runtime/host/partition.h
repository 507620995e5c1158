// One partition: rounds of decisions into frames, frames into replies, effects and sends.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "runtime/host/effect_ledger.h"
#include "runtime/host/entity.h"
#include "runtime/host/host.h"
#include "runtime/host/intake.h"
#include "runtime/host/own_sends.h"
#include "runtime/host/partition_facts.h"
#include "runtime/host/partition_waits.h"
#include "runtime/host/partition_world.h"
#include "runtime/host/standby.h"
#include "runtime/host/still_watch.h"
#include "soma/v1/host.pb.h"

namespace soma::runtime {

// Lives on its own executor: every method but the posting ones runs there. Owned by the host;
// outlived by tasks through shared_from_this.
class Partition : public std::enable_shared_from_this<Partition> {
 public:
  Partition(PartitionId id, std::shared_ptr<const PartitionWorld> world);

  // Thread-safe.
  void submit(Submission submission, Host::OnAccepted done);
  void read(ActorKey actor, Host::OnState done);
  // Claim and recover, then serve; `only_after`: of PartitionHost::open.
  void open(std::optional<Epoch> only_after = {});
  void close(std::function<void()> closed);  // serve to the end, then give it away
  void claimed_elsewhere(Epoch epoch);       // as read in the log
  void stand_by(bool wanted);
  void followed(const events::ValidFrame& frame);  // as the log is followed; for a standby
  void look();                                     // lets the standby read what it lacks
  std::optional<PartitionHost::StandbyStatus> standby() const;
  bool here() const { return here_.load(); }  // opened, and not given away
  void resend_stale();                        // sends that have waited since the last call
  void receive(PartitionId source, v1::OutboxItem item);  // a send from another partition
  void acknowledged(PartitionId target, std::uint64_t number);
  void resend_to(PartitionId target);
  void drain(std::function<void()> drained);
  void stop(std::function<void()> stopped);  // memory dropped at once, as in a crash
  void forget() { writer_.reset(); }  // where nothing else runs: frames in flight hold on to it
  void tick();                        // now and then: checkpoints
  // Of the same thread as tick(), before it. `judge`: unless some partition recovers.
  void watch(bool judge);
  // Which recovery's memory shows, beside the store, all of the partition; 0: none just now;
  // kGivenUp: none will before a restart, and the status tells why.
  static constexpr std::uint64_t kGivenUp = ~std::uint64_t{0};
  std::uint64_t readable() const;
  bool recovering() const { return reading_.load(std::memory_order_relaxed); }
  Host::PartitionStatus status() const;
  std::vector<Host::PendingEffect> pending_effects() const;
  std::vector<StateStore::HistoryRow> tail_history(const ActorKey& actor) const;
  // Those with events since the last checkpoint, after `after` in the store's order.
  std::vector<ActorKey> tail_actors(const std::string& tenant, const std::string& type,
                                    const ActorKey* after) const;
  std::vector<Host::ParkedActor> parked_actors() const;
  PartitionId id() const { return id_; }
  void redrive(ActorKey actor, std::function<void(Status)> done);

 private:
  // A command on its way through the partition, or a read of a state.
  struct Input {
    enum class Kind : std::uint8_t { kClient, kRelay, kEffect, kLocal, kRead, kRestore };
    Kind kind = Kind::kClient;
    ActorKey actor;
    std::string command;
    v1::Context context;
    std::string request_hash;
    v1::InputPosition position;  // kRelay
    Host::OnAccepted done;       // kClient
    Host::OnState on_state;      // kRead
    bool once = false;           // its id cannot come again
    bool retried = false;
    bool recorded = false;    // as parked, in the log: only has to run
    bool counted = false;     // has a place in intake_
    std::uint32_t depth = 0;  // of a cascade inside the round
    std::uint64_t order = 0;  // of dispatch: the order of entries in the frame
  };
  // An input in a round, and what its actor made of it.
  struct Work {
    Input input;
    Decided decided;
  };
  using WorkPtr = std::shared_ptr<Work>;
  struct PendingFrame {
    std::vector<Completion> completions, to_prove;  // of the latter, memory alone is proved by it
    std::vector<std::pair<ActorKey, std::vector<actors::Effect>>> effects;
    std::vector<v1::OutboxItem> outbox;
    std::vector<Answer> answers;
    std::vector<v1::InputPosition> inputs;
    std::int64_t began_us = 0;
    std::size_t events = 0;

    void fail(const Error& error) {
      for (auto& a : answers) a.done(tl::unexpected(error));
      for (auto* all : {&completions, &to_prove})
        for (auto& c : *all) c.failed(error);
    }
  };
  enum class Phase : std::uint8_t {
    kClosed,
    kRecovering,
    kServing,
    kReadOnly,  // the disk is full: states are served, nothing is decided
    kDraining,
    kFenced,
    kAway  // another node's
  };
  // An actor whose decide threw. Its commands wait in order.
  struct Parked {
    std::string reason;
    std::deque<Input> inputs;
    bool again = false;  // to be tried as soon as nothing is in flight
  };
  static constexpr std::size_t kMaxParked = 10'000;  // commands of this partition

  void post(std::function<void()> task);

  // partition.cpp: the way in.
  void take_arrivals(std::size_t most);
  void accept(Intake::Arrival arrival);
  bool answer_known(const Submission& submission, const Host::OnAccepted& done);
  void answer_recorded(const StateStore::DedupeRow& row, const std::string& hash,
                       const Host::OnAccepted& done);
  void enqueue(Input input);
  void refuse_all(const Error& error);
  void go_away();
  Error not_serving() const;
  Error decided_in_vain() const;
  void fail_all(const Error& error);  // what is decided and not yet durable

  // partition_round.cpp: rounds and frames.
  void pump();
  void dispatch(Input input);
  static void attend(Entity& target, Work& work, const PartitionWorld& world);
  void decided(WorkPtr work);
  void take_entry(WorkPtr work);
  void threw(Input input, const std::string& what);
  void park(Input input, const std::string& what);
  void try_again();
  void forget_broken(const ActorKey& actor);
  void abandon(Input& input, const Error& error);
  void read_in_vain(ActorKey actor, Host::OnState done, const Error& error);
  void overloaded(const Host::OnAccepted& done, const std::string& why);
  void waits_no_more(Input& input);
  void close_round();
  void put_entry(Work& work, v1::Frame& frame, PendingFrame& pending);
  void append_frame(std::shared_ptr<PendingFrame> pending, v1::Frame frame);
  void frame_done(const std::shared_ptr<PendingFrame>& pending,
                  const events::FrameWriter::Outcome& outcome);
  void complete_later(Completion completion, bool appended);
  void start_proof();
  void proven(const Status& ours, Offset up_to);
  std::shared_ptr<Entity> entity(const ActorKey& key);

  // partition_effects.cpp
  void update_effects(const ActorKey& actor, std::vector<actors::Effect> effects, bool recovered);
  void schedule(const ActorKey& actor, const actors::Effect& effect, bool recovered);
  void run_effect(const ActorKey& actor, const std::string& effect_id, std::uint32_t attempt);
  void report(const ActorKey& actor, v1::EffectOutcome outcome);
  void wait_for(const ActorKey& actor, const actors::Effect& effect);
  void forget_effects();

  // partition_standby.cpp
  std::shared_ptr<Standby> standby_now() const;
  void end_standby(bool write = true);
  void dismiss_standby();
  bool may_stand_by() const;
  void begin_standby();

  // partition_recovery.cpp
  void recover();
  void recover_after(std::int64_t ms);
  Status claim_and_read();
  v1::Claim own_claim() const;
  void took_over(const events::FrameReader& reader, PartitionFacts facts);  // the log is ours
  void forget_states();
  void adopt(PartitionFacts facts);
  void serve_reads(const Error& why);
  void wait_for_space();
  void observe(const events::ValidFrame& frame);
  void restore_pending(std::vector<ActorKey> actors);
  void restore_later(const ActorKey& actor);
  void fail_partition(const Error& error);
  bool store_lost() const { return w_.parts.store->generation() != store_generation_; }

  // partition_checkpoint.cpp
  void maybe_checkpoint();
  void write_checkpoint();
  void checkpoint_written(const std::vector<std::pair<ActorKey, Sequence>>& saved, Offset next,
                          bool ok);
  void passivate();
  v1::PartitionExtra extra() const;
  PartitionId target_of(const v1::OutboxItem& item) const;

  const PartitionId id_;
  const std::shared_ptr<const PartitionWorld> world_;
  const PartitionWorld& w_;
  std::shared_ptr<Executor> executor_;
  Intake intake_;
  std::uint64_t generation_ = 0;  // raised when memory is dropped; older tasks do nothing
  Phase phase_ = Phase::kClosed;
  std::string problem_;
  bool disk_full_ = false;     // since the last frame that was refused, until the next claim
  bool dropped_full_ = false;  // that is why memory was last dropped, whatever came since
  std::int64_t back_off_ms_ = 20;

  std::unique_ptr<events::FrameWriter> writer_;
  std::atomic<std::uint64_t> observed_;  // observers have seen what stands before it
  bool draining_ = false;
  bool leaving_ = false;  // to another node, when all has ended
  std::atomic<bool> here_{false};
  mutable std::mutex standby_mutex_;
  std::shared_ptr<Standby> standby_;                 // while another node owns the partition
  std::vector<std::shared_ptr<Standby>> dismissed_;  // not wanted any more, and not yet ended
  bool standby_wanted_ = false, standby_coming_ = false;
  std::atomic<std::size_t> standby_work_{0};  // frames on their way to it
  std::atomic<bool> look_queued_{false};
  std::optional<Epoch> only_after_;  // the claim waits for this epoch to be the highest
  // Of the last claim, on one node of several: what was dropped is claimed again only where nobody
  // else has claimed it meanwhile, until the group gives it anew.
  std::optional<Epoch> own_epoch_;
  std::atomic<bool> reading_{false};        // recovers just now
  std::atomic<std::uint64_t> readable_{0};  // of readable(), while the store keeps what it holds
  events::Fence fence_;                     // as of the last valid frame
  Offset next_offset_;                      // after it
  Offset last_offset_;                      // of it
  std::string last_hash_;
  std::atomic<std::uint64_t> store_generation_{0};  // as it was at recovery
  std::deque<Input> queue_;
  bool pump_posted_ = false;
  std::unordered_map<ActorKey, std::shared_ptr<Entity>> entities_;
  std::uint64_t use_clock_ = 0;
  std::int64_t tick_ms_ = 0;  // of the last tick: what idleness is measured by

  // The round that is being decided.
  bool round_ = false;
  std::uint64_t rounds_ = 0, beat_round_ = 0;  // begun; the one that was open at the last tick
  std::atomic<std::uint64_t> beats_{0};
  std::atomic<bool> still_{false};
  StillWatch watch_;  // the ticking thread's
  std::size_t outstanding_ = 0;
  std::vector<WorkPtr> entries_;  // as they came back from their actors
  std::uint64_t next_order_ = 0;
  std::vector<Completion> aside_;  // rejections and reads: they wait for what they saw
  // What was read while nothing was in flight, until the log says that nobody else has claimed.
  std::vector<Completion> to_prove_, in_proof_;
  bool proving_ = false;

  std::deque<std::shared_ptr<PendingFrame>> in_flight_;
  std::unordered_map<std::string, Dedupe> deciding_;               // command ids not yet valid
  std::unordered_map<std::string, StateStore::DedupeRow> recent_;  // valid, not yet in the store
  std::map<ActorKey, Parked> parked_;
  std::size_t parked_inputs_ = 0;
  bool parked_changed_ = false;               // since it was last published
  std::map<ActorKey, std::size_t> redriven_;  // parked ones that are in queue_ once more
  // Of effects, by command id: parked once and redriven, until the ledger knows what is wanted now.
  std::set<std::string> outcomes_;
  OwnSends own_sends_;
  std::vector<Input> retry_;         // threw once: again when nothing is in flight
  bool again_ = false;               // some of parked_ are to be tried
  mutable std::mutex ledger_mutex_;  // others read it; only this executor changes it
  EffectLedger ledger_;

  SendMarks last_sent_;                            // per target
  std::map<std::uint32_t, std::uint64_t> waited_;  // oldest unacknowledged send, when last asked
  Outbox outbox_;
  SendMarks high_water_;                             // durable, per source
  std::map<std::uint32_t, std::uint64_t> accepted_;  // in memory, per source

  mutable std::mutex shared_mutex_;  // what status() and history read from other threads
  struct TailRow {
    Sequence first;
    Offset offset;
  };
  std::unordered_map<ActorKey, std::vector<TailRow>> tail_;  // frames since the last checkpoint
  void add_to_tail(const events::ValidFrame& frame);
  Host::PartitionStatus status_;
  std::vector<Host::ParkedActor> parked_shown_;
  void publish_status();
  bool checkpointing_ = false;
  bool want_checkpoint_ = false;
  std::shared_ptr<const std::unordered_map<std::string, StateStore::DedupeRow>> writing_;  // soon
  std::uint64_t events_since_checkpoint_ = 0;
  std::int64_t last_checkpoint_ms_ = 0;
  std::vector<std::function<void()>> drained_;
};

}  // namespace soma::runtime
