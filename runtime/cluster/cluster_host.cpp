// An errand: the same call, until an owner has answered or patience ends.
#include "runtime/cluster/cluster_host.h"

#include <atomic>
#include <condition_variable>
#include <future>
#include <iterator>
#include <optional>
#include <thread>

#include "runtime/cluster/census.h"
#include "runtime/host/deadlines.h"

namespace soma::runtime {

namespace {

constexpr std::int64_t kFirstPauseMs = 10, kLongestPauseMs = 200;
constexpr std::int64_t kLookMs = 200;  // whether the owner that was asked still is it

Error error_of(const v1::ClusterError& e) {
  return {code_from_name(e.code()), e.message(), e.field(), e.retry_after_ms()};
}

}  // namespace

struct ClusterHost::Core {
  explicit Core(Parts p) : parts(std::move(p)), late(*parts.clock) {}
  const Parts parts;
  Deadlines late;  // of the local host's answers
  std::mutex mutex;
  std::map<Errand*, std::shared_ptr<Errand>> waiting;  // for their next try
  std::atomic<bool> closed{false};
  std::atomic<int> inside{0};

  bool enter() {
    ++inside;
    if (!closed) return true;
    --inside;
    return false;
  }
};

class ClusterHost::Errand : public std::enable_shared_from_this<ClusterHost::Errand> {
 public:
  using Answer = Result<v1::ClusterAnswer>;
  // `local` does it on the host here. Errors that are kFenced there mean that it was not done.
  Errand(std::shared_ptr<Core> core, PartitionId partition, v1::ClusterCall call)
      : core_(std::move(core)),
        partition_(partition),
        call_(std::move(call)),
        until_ms_(core_->parts.clock->steady_ms() + kPatienceMs) {}

  std::function<void()> local;
  std::function<void(Answer)> done;  // of another node, or that there was none
  bool only_reads = false;           // and waits for an owner that recovers

  void run() {
    if (!core_->enter()) return give_up();
    auto& p = core_->parts;
    if (p.clock->steady_ms() > until_ms_) {  // this node was frozen: its client has asked elsewhere
      --core_->inside;
      return give_up();
    }
    if (p.local->here(partition_)) {
      local();
      --core_->inside;
      return;
    }
    const auto owner = p.directory->owner(partition_);
    if (!owner || owner->node_id == p.node_id || owner->address.empty()) {
      --core_->inside;
      return again();
    }
    const unsigned call = calls_.load();
    auto give_up =
        p.peers->call(owner->address, call_, [self = shared_from_this(), call](Peers::Reply reply) {
          if (self->ends(call)) self->replied(std::move(reply));
        });
    look_later({call, *owner, std::move(give_up)});
    --core_->inside;
  }

  void again() {
    auto& clock = *core_->parts.clock;
    if (clock.steady_ms() + pause_ms_ > until_ms_) return give_up();
    {
      std::unique_lock lock(core_->mutex);
      if (core_->closed) {
        lock.unlock();
        return give_up();
      }
      core_->waiting[this] = shared_from_this();
    }
    clock.call_in(pause_ms_, [core = core_, weak = weak_from_this()] {
      auto self = weak.lock();
      if (!self) return;
      {
        std::lock_guard lock(core->mutex);
        if (core->waiting.erase(self.get()) == 0) return;
      }
      self->run();
    });
    pause_ms_ = std::min(pause_ms_ * 2, kLongestPauseMs);
  }

  bool maybe_done() const { return maybe_done_; }

  // The local host's answer, unless it comes too late: then nobody waits for it any more.
  template <typename T>
  std::function<void(Result<T>)> here(std::function<void(Result<T>)> on_done) {
    const unsigned call = calls_.load();
    const auto& p = core_->parts;
    late_ = core_->late.set(p.clock->steady_ms() + p.answer_ms, [weak = weak_from_this(), call] {
      const auto self = weak.lock();
      if (!self || !self->ends(call)) return;
      self->maybe_done_ = true;
      self->give_up();
    });
    return [self = shared_from_this(), call, on_done = std::move(on_done)](Result<T> answer) {
      if (!self->ends(call)) return;
      if (!answer && answer.error().code == Code::kFenced) return self->again();
      on_done(std::move(answer));
    };
  }

  void give_up() {
    done(maybe_done_ && call_.has_submit()
             ? fail(Code::kUnknownOutcome,
                    "whether the command was recorded is not known; retry with the same "
                    "Idempotency-Key")
             : fail(Code::kUnavailable,
                    "no node serves this part of the data just now; try again shortly"));
  }

 private:
  void replied(Peers::Reply reply) {
    if (reply.kind == Peers::Reply::Kind::kUnknown) maybe_done_ = true;
    if (reply.kind != Peers::Reply::Kind::kAnswered) return again();
    if (!reply.answer.has_error()) return done(std::move(reply.answer));
    const Error error = error_of(reply.answer.error());
    const bool recovers = only_reads && error.code == Code::kUnavailable;
    if (error.code == Code::kFenced || recovers) return again();
    done(tl::unexpected(error));
  }

  // Whoever says so first ends the call: the reply, or that another node has claimed meanwhile.
  bool ends(unsigned call) { return calls_.compare_exchange_strong(call, call + 1); }

  struct Asked {
    unsigned call;
    Directory::Owner owner;
    Peers::GiveUp give_up;
  };
  // A node that is frozen or cut off would be waited for in vain long after its partition is
  // another's, and one that answers slowly has others' calls before this one. What it may have
  // recorded the new owner knows by the command's id; what it has not begun with it must not begin:
  // the client may have been refused by then.
  void look_later(Asked asked) {
    core_->parts.clock->call_in(
        kLookMs, [core = core_, weak = weak_from_this(), asked = std::move(asked)] {
          const auto self = weak.lock();
          if (!self || self->calls_ != asked.call || !core->enter()) return;
          const auto owner = core->parts.directory->owner(self->partition_);
          const bool another = !owner || owner->epoch != asked.owner.epoch;
          // What was sent at the end of the patience has had its time; what was not is not sent.
          const bool late = core->parts.clock->steady_ms() >= self->until_ms_ + kClusterCallMs;
          const bool ended = (another || late) && self->ends(asked.call);
          if (ended) asked.give_up();
          --core->inside;
          if (!another && !late) return self->look_later(asked);
          if (!ended) return;
          self->maybe_done_ = true;
          self->again();
        });
  }

  const std::shared_ptr<Core> core_;
  const PartitionId partition_;
  const v1::ClusterCall call_;
  std::atomic<unsigned> calls_{0};  // that have ended
  const std::int64_t until_ms_;
  std::int64_t pause_ms_ = kFirstPauseMs;
  bool maybe_done_ = false;
  Deadlines::Token late_;
};

ClusterHost::ClusterHost(Parts parts) : core_(std::make_shared<Core>(std::move(parts))) {}

ClusterHost::~ClusterHost() { close(); }

void ClusterHost::close() {
  std::map<Errand*, std::shared_ptr<Errand>> waiting;
  {
    std::lock_guard lock(core_->mutex);
    core_->closed = true;
    waiting.swap(core_->waiting);
  }
  for (const auto& [p, errand] : waiting) errand->give_up();
  while (core_->inside > 0) std::this_thread::yield();
}

PartitionId ClusterHost::partition_for(const ActorKey& actor) const {
  return partition_of(actor, core_->parts.partitions);
}

// What whoever waits for an errand is told.
template <typename T>
class ClusterHost::Word {
 public:
  // Nothing: the partition is here, and it is for him to look.
  void tell(std::optional<Result<T>> word) {
    std::lock_guard lock(mutex_);
    word_ = std::move(word);
    changed_.notify_one();
  }
  std::optional<Result<T>> wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return word_.has_value(); });
    return *std::exchange(word_, std::nullopt);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<std::optional<Result<T>>> word_;
};

// One answer from the owner, elsewhere or here. Looking here may block, so it is done on the thread
// that waits: the errand's tries are on the clock's.
template <typename T>
std::function<Result<T>()> ClusterHost::ask(PartitionId partition, v1::ClusterCall call,
                                            std::function<Result<T>(PartitionHost&)> here,
                                            std::function<T(v1::ClusterAnswer&)> there) const {
  const auto word = std::make_shared<Word<T>>();
  const auto errand = std::make_shared<Errand>(core_, partition, std::move(call));
  errand->only_reads = true;
  errand->local = [word] { word->tell(std::nullopt); };
  errand->done = [word, there = std::move(there)](Errand::Answer answer) {
    word->tell(answer ? Result<T>(there(*answer)) : tl::unexpected(answer.error()));
  };
  errand->run();
  return [core = core_, errand, word, here = std::move(here)]() -> Result<T> {
    for (;;) {
      if (auto told = word->wait()) return std::move(*told);
      if (!core->enter()) return fail(Code::kUnavailable, "the node is stopping");
      auto found = here(*core->parts.local);
      --core->inside;
      if (found) return found;
      const Code code = found.error().code;  // it may be recovering
      if (code != Code::kFenced && code != Code::kUnavailable) return found;
      errand->again();
    }
  };
}

void ClusterHost::submit(Submission s, OnAccepted on_done) {
  v1::ClusterCall call;
  auto* c = call.mutable_submit();
  *c->mutable_actor() = actors::to_ref(s.actor);
  c->set_command(s.command);
  c->set_command_id(s.command_id);
  c->set_request_hash(s.request_hash);
  *c->mutable_principal() = s.principal;
  c->set_correlation_id(s.correlation_id);
  c->set_traceparent(s.traceparent);
  const auto errand = std::make_shared<Errand>(core_, partition_for(s.actor), std::move(call));
  errand->local = [core = core_.get(), weak = std::weak_ptr(errand), s = std::move(s),
                   on_done]() mutable {
    auto errand = weak.lock();
    // One that may have been recorded by another node is repeated here: it can come twice.
    s.once &= !errand->maybe_done();
    core->parts.local->submit(s, errand->here<Accepted>(on_done));
  };
  errand->done = [on_done](Errand::Answer answer) {
    if (!answer) return on_done(tl::unexpected(answer.error()));
    Accepted a;
    a.reply = answer->body();
    a.position = {PartitionId{answer->partition()}, Offset{answer->offset()}};
    a.sequence = Sequence{answer->sequence()};
    a.replayed = answer->replayed();
    on_done(std::move(a));
  };
  errand->run();
}

void ClusterHost::read(ActorKey actor, OnState on_done) {
  v1::ClusterCall call;
  *call.mutable_read() = actors::to_ref(actor);
  const auto errand = std::make_shared<Errand>(core_, partition_for(actor), std::move(call));
  const auto* type = core_->parts.catalog->find(actor.type);
  errand->local = [core = core_.get(), weak = std::weak_ptr(errand), actor, on_done] {
    core->parts.local->read(actor, weak.lock()->here<StateView>(on_done));
  };
  errand->done = [type, on_done](Errand::Answer answer) {
    if (!answer) return on_done(tl::unexpected(answer.error()));
    if (!type) return on_done(fail(Code::kInvalidArgument, "unknown actor type", "actor.type"));
    auto state = type->new_state();
    if (!state->ParseFromString(answer->body()))
      return on_done(fail(Code::kUnavailable, "the owner's answer cannot be read"));
    on_done(StateView{std::move(state),
                      Sequence{answer->sequence()},
                      {PartitionId{answer->partition()}, Offset{answer->offset()}}});
  };
  errand->run();
}

Result<std::vector<Host::HistoryEvent>> ClusterHost::history(const ActorKey& actor, Sequence after,
                                                             std::size_t limit) const {
  v1::ClusterCall call;
  auto* c = call.mutable_history();
  *c->mutable_actor() = actors::to_ref(actor);
  c->set_after(after.value);
  c->set_limit(limit);
  return ask<std::vector<HistoryEvent>>(
      partition_for(actor), std::move(call),
      [&](PartitionHost& local) { return local.history(actor, after, limit); },
      [&](v1::ClusterAnswer& answer) {
        std::vector<HistoryEvent> out;
        for (auto& e : *answer.mutable_events())
          out.push_back({actor,
                         std::move(*e.mutable_event()),
                         std::move(*e.mutable_context()),
                         {PartitionId{answer.partition()}, Offset{e.offset()}}});
        return out;
      })();
}

Result<std::vector<Host::ActorPlace>> ClusterHost::actors(const std::string& tenant,
                                                          const std::string& type,
                                                          const std::optional<ActorPlace>& after,
                                                          std::size_t limit) const {
  std::vector<ActorPlace> out;
  for (std::uint32_t i = after ? after->partition.value : 0;
       i < core_->parts.partitions && out.size() < limit; ++i) {
    const PartitionId id{i};
    const ActorKey* from = after && after->partition == id ? &after->actor : nullptr;
    const std::size_t left = limit - out.size();
    v1::ClusterCall call;
    auto* c = call.mutable_actors();
    c->set_partition(i);
    c->set_tenant(tenant);
    c->set_type(type);
    if (from) *c->mutable_after() = actors::to_ref(*from);
    c->set_limit(left);
    auto found = ask<std::vector<ActorPlace>>(
        id, std::move(call),
        [&](PartitionHost& local) { return local.actors_in(id, tenant, type, from, left); },
        [&](v1::ClusterAnswer& answer) {
          std::vector<ActorPlace> places;
          for (const auto& ref : answer.actors()) places.push_back({id, actors::to_key(ref)});
          return places;
        })();
    if (!found) return found;
    std::move(found->begin(), found->end(), std::back_inserter(out));
  }
  return out;
}

void ClusterHost::redrive(const ActorKey& actor, std::function<void(Status)> on_done) {
  v1::ClusterCall call;
  *call.mutable_redrive() = actors::to_ref(actor);
  const auto errand = std::make_shared<Errand>(core_, partition_for(actor), std::move(call));
  errand->local = [core = core_.get(), weak = std::weak_ptr(errand), actor, on_done] {
    core->parts.local->redrive(actor, [errand = weak.lock(), on_done](Status done) {
      if (!done && done.error().code == Code::kFenced) return errand->again();
      on_done(std::move(done));
    });
  };
  errand->done = [on_done](const Errand::Answer& answer) {
    on_done(answer ? Status{} : Status(tl::unexpected(answer.error())));
  };
  errand->run();
}

Status ClusterHost::redrive(const ActorKey& actor) {
  std::promise<Status> result;
  redrive(actor, [&](Status s) { result.set_value(std::move(s)); });
  return result.get_future().get();
}

std::uint64_t ClusterHost::on_frame(OnFrame observer) {
  return core_->parts.local->on_frame(std::move(observer));
}

void ClusterHost::remove_observer(std::uint64_t id) { core_->parts.local->remove_observer(id); }

std::vector<Host::PartitionStatus> ClusterHost::status() const {
  return core_->parts.local->status();
}

// Of every partition at once, each from its owner: all of them or none.
template <typename Item>
Result<std::vector<Item>> ClusterHost::of_all(
    bool parked, Result<std::vector<Item>> (PartitionHost::*here)(PartitionId) const,
    std::vector<Item> (*there)(const v1::ClusterAnswer&)) const {
  std::vector<std::function<Result<std::vector<Item>>()>> parts;
  for (std::uint32_t i = 0; i < core_->parts.partitions; ++i) {
    v1::ClusterCall call;
    call.mutable_census()->set_partition(i);
    call.mutable_census()->set_parked(parked);
    parts.push_back(ask<std::vector<Item>>(
        PartitionId{i}, std::move(call),
        [here, i](PartitionHost& local) { return (local.*here)(PartitionId{i}); },
        [there](v1::ClusterAnswer& answer) { return there(answer); }));
  }
  std::vector<Item> out;
  for (auto& part : parts) {
    auto found = part();
    if (!found) return found;
    std::move(found->begin(), found->end(), std::back_inserter(out));
  }
  return out;
}

Result<std::vector<Host::PendingEffect>> ClusterHost::pending_effects() const {
  return of_all<PendingEffect>(false, &PartitionHost::pending_effects_in, effects_of);
}
Result<std::vector<Host::ParkedActor>> ClusterHost::parked() const {
  return of_all<ParkedActor>(true, &PartitionHost::parked_in, parked_of);
}
const HostMetrics& ClusterHost::metrics() const { return core_->parts.local->metrics(); }
bool ClusterHost::drain(std::int64_t timeout_ms) { return core_->parts.local->drain(timeout_ms); }

}  // namespace soma::runtime
