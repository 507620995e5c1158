// What two nodes do for each other's clients.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <set>
#include <tuple>

#include "runtime/cluster/census.h"
#include "runtime/effects/http_loop.h"
#include "tests/unit/cluster/fixture.h"
#include "tests/unit/host/shared_fixture.h"

namespace soma::runtime {

namespace {

TEST_F(ClusterOfTwo, EveryNodeAnswersForEveryActor) {
  open(a_, "x");
  const auto first = add(*b_.host, "x", 5, "demo:1", "h");
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_EQ(*value(*b_.host, "x"), 5);
  EXPECT_EQ(*value(*a_.host, "x"), 5);
  // The retry finds the recorded answer at any node; another request with its key is refused there.
  const auto again = add(*a_.host, "x", 5, "demo:1", "h");
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->replayed);
  EXPECT_EQ(again->position, first->position);
  EXPECT_EQ(add(*b_.host, "x", 6, "demo:1", "other").error().code, Code::kConflict);
  const auto history = b_.host->history(counter("x"), {}, 10);
  ASSERT_TRUE(history) << history.error().message;
  ASSERT_EQ(history->size(), 1u);
  EXPECT_EQ(history->front().context.command_id(), "demo:1");
  while (b_.seen == 0) std::this_thread::yield();  // its streams hear of it
}

// Nothing is kept to answer a repetition with, but where another node may hear of it twice.
TEST_F(ClusterOfTwo, WhatNobodyRepeatsIsKnownOnlyWhereItCameFromElsewhere) {
  open(a_, "x");
  ASSERT_TRUE(add(*a_.host, "x", 5, "demo:1", "h", true));
  const auto anew = add(*a_.host, "x", 5, "demo:1", "h");
  ASSERT_TRUE(anew) << anew.error().message;
  EXPECT_FALSE(anew->replayed);
  ASSERT_TRUE(add(*b_.host, "x", 5, "demo:2", "h", true));
  const auto again = add(*b_.host, "x", 5, "demo:2", "h");
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_TRUE(again->replayed);
  EXPECT_EQ(*value(*a_.host, "x"), 15);
}

// What a stream at one node is told of a call that runs at another, each token as
// attempt.index:text.
struct Heard {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::string> tokens;

  TokenHub::Listener listener() {
    return [this](const TokenHub::Token& t) {
      std::lock_guard lock(mutex);
      tokens.push_back(std::to_string(t.attempt) + "." + std::to_string(t.index) + ":" + t.text);
      changed.notify_all();
    };
  }
  std::vector<std::string> until(std::size_t count) {
    std::unique_lock lock(mutex);
    changed.wait_for(lock, std::chrono::seconds(20), [&] { return tokens.size() >= count; });
    return tokens;
  }
};

TEST_F(ClusterOfTwo, TokensReachStreamsAtEveryNode) {
  open(a_, "x");
  while (add(*b_.host, "x", 1, "demo:1").has_value() == false) std::this_thread::yield();
  Heard at_b, at_a;
  a_.tokens.begin("call-1", 1);
  a_.tokens.publish("call-1", 1, 0, "one ");
  // Subscribed in the middle: what came before is told too, and each once.
  auto far = b_.tokens.subscribe("call-1", at_b.listener());
  auto near = a_.tokens.subscribe("call-1", at_a.listener());
  ASSERT_EQ(at_b.until(1).size(), 1u);
  a_.tokens.publish("call-1", 1, 1, "two ");
  ASSERT_EQ(at_b.until(2).size(), 2u);
  a_.tokens.begin("call-1", 2);
  a_.tokens.publish("call-1", 2, 0, "again");
  const std::vector<std::string> all{"1.0:one ", "1.1:two ", "2.0:again"};
  EXPECT_EQ(at_b.until(3), all);
  EXPECT_EQ(at_a.until(3), all);
  a_.tokens.finish("call-1", 2);
  near.reset();
  far.reset();
  EXPECT_EQ(b_.tokens.calls(), 0u);
}

// It knows who owned what there; what came later it reads.
TEST_F(ClusterOfTwo, ANodeThatComesBackFollowsTheJournalFromWhereItsStoreEnds) {
  open(a_, "x");
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(add(*a_.host, "x", 1, "demo:" + std::to_string(i)));
  EXPECT_EQ(a_.local->known(partition("x")).until.next, Offset{});  // no checkpoint yet
  std::promise<void> closed;
  a_.local->close(partition("x"), [&] { closed.set_value(); });
  closed.get_future().get();
  a_.cluster->close();
  a_.local.reset();
  open(b_, "x");
  ASSERT_TRUE(add(*b_.host, "x", 1, "demo:b"));
  join(a_, "a", kSecret);
  const auto known = a_.local->known(partition("x"));
  EXPECT_EQ(known.claim.node_id(), "a");
  EXPECT_GE(known.until.next.value, 6u);  // the claim and five frames
  Result<Accepted> passed_on;
  while (!(passed_on = add(*a_.host, "x", 1, "demo:a"))) std::this_thread::yield();
  EXPECT_EQ(*value(*b_.host, "x"), 7);
}

TEST_F(ClusterOfTwo, ARequestFollowsItsPartition) {
  open(a_, "x");
  ASSERT_TRUE(add(*b_.host, "x", 1, "demo:1"));
  std::promise<void> closed;
  a_.local->close(partition("x"), [&] { closed.set_value(); });
  closed.get_future().get();
  auto waiting = std::async(std::launch::async, [&] { return add(*a_.host, "x", 1, "demo:2"); });
  open(b_, "x");
  const auto accepted = waiting.get();
  ASSERT_TRUE(accepted) << accepted.error().message;
  EXPECT_EQ(*value(*a_.host, "x"), 2);
}

// A group that gives what the test says, and tells of it on the test's thread.
struct ScriptedGroup final : events::Membership {
  std::vector<PartitionId> given() const override { return {}; }
  void released(PartitionId) override {}
  void leave() override {}
  bool left() const override { return true; }
  Status health() const override { return {}; }
};

TEST_F(ClusterOfTwo, WhatTheGroupHasLostSightOfIsServedUntilAnotherClaimsIt) {
  using Turn = events::Membership::Turn;
  events::Membership::OnChange tell;
  ASSERT_TRUE(a_.cluster->join(
      [&](events::Membership::OnChange on_change) -> Result<std::unique_ptr<events::Membership>> {
        tell = std::move(on_change);
        return std::make_unique<ScriptedGroup>();
      },
      [] { return Result<events::GroupView>(events::GroupView{}); }));
  tell(partition("x"), Turn::kGiven);
  open(a_, "x");
  const auto epoch = a_.local->status().front().epoch;
  tell(partition("x"), Turn::kLost);
  ASSERT_TRUE(add(*a_.host, "x", 1, "demo:1"));
  EXPECT_TRUE(a_.local->here(partition("x")));
  tell(partition("x"), Turn::kGiven);  // in the group again
  ASSERT_TRUE(add(*a_.host, "x", 1, "demo:2"));
  EXPECT_EQ(a_.local->status().front().epoch, epoch) << "it was claimed anew";
  tell(partition("x"), Turn::kLost);
  open(b_, "x");
  // By its new owner; what met the claim on its way is told as unknown, and repeated.
  while (!add(*a_.host, "x", 1, "demo:3")) std::this_thread::yield();
  EXPECT_EQ(*value(*b_.host, "x"), 3);
}

// Accepts one connection and says nothing, as a frozen node does.
class Silent {
 public:
  Silent() {
    sockaddr_in here{};
    here.sin_family = AF_INET;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&here), sizeof here), 0);
    EXPECT_EQ(::listen(listener_, 4), 0);
  }
  ~Silent() {
    if (called_ >= 0) ::close(called_);
    ::close(listener_);
  }
  std::string address() const {
    sockaddr_in here{};
    socklen_t size = sizeof here;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&here), &size);
    return "127.0.0.1:" + std::to_string(ntohs(here.sin_port));
  }
  void wait_called() { called_ = ::accept(listener_, nullptr, nullptr); }
  // Whether the caller has ended its connection, at the latest within 2 s.
  bool left() const {
    const timeval patience{2, 0};
    ::setsockopt(called_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    char bytes[4096];
    for (;;)
      if (const ssize_t n = ::recv(called_, bytes, sizeof bytes, 0); n <= 0) return n == 0;
  }

 private:
  const int listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int called_ = -1;
};

// The call to the silent one ends after 2.5 s: who waited for that would be later.
TEST_F(ClusterOfTwo, ANodeThatSaysNothingIsNotWaitedForOnceAnotherHasClaimed) {
  Silent silent;
  Member frozen;
  join(frozen, "frozen", kSecret, silent.address());
  open(frozen, "x");
  ASSERT_TRUE(add(*frozen.host, "x", 1, "demo:1"));
  auto waiting = std::async(std::launch::async, [&] { return add(*a_.host, "x", 1, "demo:2"); });
  silent.wait_called();
  const auto began = std::chrono::steady_clock::now();
  open(b_, "x");
  const auto accepted = waiting.get();
  // Should it wake up, it finds the connection closed and does not begin.
  EXPECT_TRUE(silent.left());
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(1500));
  ASSERT_TRUE(accepted) << accepted.error().message;
  EXPECT_EQ(*value(*b_.host, "x"), 2);
  frozen.cluster->close();
  frozen.local.reset();
}

// A broker that takes connections and says nothing: whatever waits for it is answered all the same.
TEST_F(ClusterOfTwo, WhatTheLogSaysNothingOfEndsInTime) {
  HeldReports mute(*log_);
  Member c;
  join(c, "c", kSecret, {}, 500, &mute);
  open(c, "x");
  ASSERT_TRUE(add(*c.host, "x", 1, "demo:1"));
  mute.hold();
  const auto command = add(*c.host, "x", 2, "demo:2");
  ASSERT_FALSE(command);
  EXPECT_EQ(command.error().code, Code::kUnknownOutcome);
  const auto read = value(*c.host, "x");  // waits for the frame in flight
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Code::kUnavailable);
  mute.release();
  EXPECT_EQ(add(*c.host, "x", 2, "demo:2")->sequence, Sequence{2});  // once
  EXPECT_EQ(*value(*c.host, "x"), 3);
  c.cluster->close();
  c.local.reset();
}

TEST_F(ClusterOfTwo, WithoutAnOwnerThereIsAnErrorThatSaysTryAgain) {
  const auto refused = add(*a_.host, "x", 1, "demo:1");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kUnavailable);
  EXPECT_EQ(code_disposition(refused.error().code), Disposition::kRetry);
}

TEST_F(ClusterOfTwo, ListsAreOfAllOwners) {
  const std::uint32_t count = log_->partition_count(), last = count - 1;
  const auto serve = [&](std::uint32_t p) {
    Member& m = p % 2 == 0 ? a_ : b_;
    m.local->open(PartitionId{p});
    const auto serving = [&] {
      for (const auto& s : m.local->status())
        if (s.partition == PartitionId{p}) return s.serving;
      return false;
    };
    while (!serving()) std::this_thread::yield();
  };
  for (std::uint32_t p = 0; p < last; ++p) serve(p);
  const auto part = a_.host->parked();  // of all but one: refused, not shown in part
  ASSERT_FALSE(part);
  EXPECT_EQ(part.error().code, Code::kUnavailable);
  serve(last);
  runner_.silent = true;
  std::set<std::string> calls, poisoned;
  for (const std::uint32_t owner : {0, 1}) {
    std::string id = "n";
    while (partition(id).value % 2 != owner) id += "n";
    v1::CounterCommand c;
    c.mutable_call_out()->set_call_id("call-" + id);
    std::promise<Result<Accepted>> called;
    a_.host->submit({counter(id), c.SerializeAsString(), "demo:c" + id, {}, {}, {}, {}},
                    [&](Result<Accepted> r) { called.set_value(std::move(r)); });
    ASSERT_TRUE(called.get_future().get());
    calls.insert("call-" + id);
    std::string bad = id + "bad";
    while (partition(bad).value % 2 != owner) bad += "d";
    c.mutable_explode();
    std::promise<Result<Accepted>> parked;
    a_.host->submit({counter(bad), c.SerializeAsString(), "demo:p" + bad, {}, {}, {}, {}},
                    [&](Result<Accepted> r) { parked.set_value(std::move(r)); });
    EXPECT_EQ(parked.get_future().get().error().code, Code::kParked);
    poisoned.insert(bad);
  }
  for (Member* m : {&a_, &b_}) {
    std::set<std::string> pending, waiting;
    while (pending.size() < calls.size()) {
      const auto effects = m->host->pending_effects();
      ASSERT_TRUE(effects) << effects.error().message;
      for (const auto& e : *effects) {
        EXPECT_EQ(e.effect.effect_class, actors::EffectClass::kAtMostOnce);
        EXPECT_GT(e.since_ms, 0);
        pending.insert(e.effect.effect_id);
      }
    }
    EXPECT_EQ(pending, calls);
    while (waiting.size() < poisoned.size()) {
      const auto all = m->host->parked();
      ASSERT_TRUE(all) << all.error().message;
      for (const auto& p : *all) {
        EXPECT_EQ(p.reason, "the counter was told to explode");
        waiting.insert(p.actor.id);
      }
    }
    EXPECT_EQ(waiting, poisoned);
  }
}

TEST_F(ClusterOfTwo, ACensusGoesThereAndBack) {
  Host::PendingEffect effect;
  effect.actor = counter("e");
  effect.effect = {"id", "slm.chat", actors::EffectClass::kAtMostOnce, 3, 11, 12, {}, {}, "why"};
  effect.state = "unknown";
  effect.since_ms = 13;
  effect.request_bytes = 14;
  const auto effects = effects_of(*census_answer(std::vector{effect}));
  ASSERT_EQ(effects.size(), 1u);
  const auto& e = effects[0];
  EXPECT_EQ(e.actor, effect.actor);
  EXPECT_EQ(e.effect.effect_id + e.effect.kind + e.effect.unknown, "idslm.chatwhy");
  EXPECT_EQ(e.effect.effect_class, actors::EffectClass::kAtMostOnce);
  EXPECT_EQ(std::tuple(e.effect.attempt, e.effect.not_before_ms, e.effect.deadline_ms, e.since_ms,
                       e.request_bytes, e.state),
            std::tuple(3u, 11, 12, 13, 14u, "unknown"));

  Host::ParkedActor parked{counter("p"), "broken", {}};
  parked.commands.resize(2);
  parked.commands[1].context.set_command_id("second");
  parked.commands[1].command = "bytes";
  const auto all = parked_of(*census_answer(std::vector{parked}));
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].actor, parked.actor);
  EXPECT_EQ(all[0].reason, "broken");
  ASSERT_EQ(all[0].commands.size(), 2u);
  EXPECT_EQ(all[0].commands[1].context.command_id(), "second");
  EXPECT_EQ(all[0].commands[1].command, "bytes");

  parked.commands[0].command.assign(kClusterBodyBytes / 2, 'x');
  EXPECT_EQ(census_answer(std::vector{parked}).error().code, Code::kTooLarge);
}

TEST_F(ClusterOfTwo, ACallIsNeverPassedOn) {
  open(a_, "x");
  v1::ClusterCall call;
  call.set_sent_ms(clock_->now_ms());
  *call.mutable_read() = actors::to_ref(counter("x"));
  const std::string body = call.SerializeAsString();
  const auto end = post(b_.cluster->address(), body, cluster_mac(kSecret, body));
  ASSERT_EQ(end.status, 200);
  v1::ClusterAnswer answer;
  ASSERT_TRUE(answer.ParseFromString(end.body));
  EXPECT_EQ(answer.error().code(), "fenced");
}

TEST_F(ClusterOfTwo, OnlyWhoKnowsTheSecretIsAnswered) {
  open(a_, "x");
  v1::ClusterCall call;
  call.set_sent_ms(clock_->now_ms());
  *call.mutable_read() = actors::to_ref(counter("x"));
  std::string body = call.SerializeAsString();
  EXPECT_EQ(post(a_.cluster->address(), body, "").status, 401);
  EXPECT_EQ(post(a_.cluster->address(), body, cluster_mac(std::string(32, 'x'), body)).status, 401);
  const std::string good = cluster_mac(kSecret, body);
  EXPECT_EQ(post(a_.cluster->address(), body, good).status, 200);
  call.mutable_read()->set_tenant("other");
  EXPECT_EQ(post(a_.cluster->address(), call.SerializeAsString(), good).status, 401);
  call.set_sent_ms(clock_->now_ms() - 2 * kClusterCallAgeMs);
  body = call.SerializeAsString();
  EXPECT_EQ(post(a_.cluster->address(), body, cluster_mac(kSecret, body)).status, 401);  // recorded
}

TEST_F(ClusterOfTwo, SendsReachAnOwnerElsewhere) {
  std::string there = "there";
  for (int i = 0; partition(there) == partition("here"); ++i) there = "there" + std::to_string(i);
  open(a_, "here");
  open(b_, there);
  ASSERT_TRUE(add(*a_.host, "here", 10, "demo:funds"));
  v1::CounterCommand c;
  c.mutable_transfer()->set_amount(4);
  *c.mutable_transfer()->mutable_to() = actors::to_ref(counter(there));
  std::promise<Result<Accepted>> sent;
  b_.host->submit({counter("here"), c.SerializeAsString(), "demo:t", {}, {}, {}, {}},
                  [&](Result<Accepted> r) { sent.set_value(std::move(r)); });
  const auto accepted = sent.get_future().get();
  ASSERT_TRUE(accepted) << accepted.error().message;
  while (*value(*a_.host, there) != 4) std::this_thread::yield();
  EXPECT_EQ(*value(*b_.host, "here"), 6);
}

}  // namespace

}  // namespace soma::runtime
