// The commit path: replies, retries, restarts, sends, timers, effects, poison.
#include <thread>
#include <vector>

#include "actors/idempotency/idempotency.h"
#include "fixture.h"

namespace soma::runtime {
namespace {

std::int64_t value(const Result<Accepted>& r) {
  v1::CounterReply reply;
  EXPECT_TRUE(r) << (r ? "" : r.error().message);
  if (r) reply.ParseFromString(r->reply);
  return reply.value();
}

TEST_F(HostFixture, AnswersAndNumbersEvents) {
  EXPECT_EQ(value(add("a", 3, "c1")), 3);
  auto second = add("a", 4, "c2");
  EXPECT_EQ(value(second), 7);
  EXPECT_EQ(second->sequence, Sequence{2});
  EXPECT_EQ(state("a").value(), 7);
}

TEST_F(HostFixture, RetryGetsTheRecordedReplyAlsoAfterARestart) {
  const auto first = add("a", 3, "key");
  ASSERT_TRUE(first);
  add("a", 10, "other");
  for (int round = 0; round < 2; ++round) {
    const auto again = add("a", 3, "key");
    EXPECT_EQ(value(again), 3);
    EXPECT_TRUE(again->replayed);
    EXPECT_EQ(again->position, first->position);
    EXPECT_EQ(state("a").value(), 13);
    restart();
  }
}

TEST_F(HostFixture, SameKeyForAnotherRequestIsRefused) {
  ASSERT_TRUE(add("a", 3, "key"));
  auto other = add("a", 4, "key");
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, Code::kConflict);
  EXPECT_EQ(state("a").value(), 3);
}

TEST_F(HostFixture, RefusalChangesNothing) {
  v1::CounterCommand c;
  c.mutable_transfer()->set_amount(5);
  *c.mutable_transfer()->mutable_to() = actors::to_ref(counter("b"));
  auto refused = submit(counter("a"), c, "t1");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kConflict);
  EXPECT_EQ(state("a").value(), 0);
}

TEST_F(HostFixture, StateSurvivesRestartsWithAndWithoutSnapshots) {
  for (int i = 0; i < 50; ++i)
    ASSERT_TRUE(add("a" + std::to_string(i % 7), i, "k" + std::to_string(i)));
  std::int64_t before = 0;
  for (int i = 0; i < 7; ++i) before += state("a" + std::to_string(i)).value();
  EXPECT_EQ(before, 49 * 50 / 2);
  ASSERT_TRUE(host_->drain(5000));  // writes a checkpoint
  EXPECT_GT(host_->metrics().snapshots.load(), 0u);
  restart();
  std::int64_t after = 0;
  for (int i = 0; i < 7; ++i) after += state("a" + std::to_string(i)).value();
  EXPECT_EQ(after, before);
  EXPECT_EQ(value(add("a1", 1, "k1")), value(add("a1", 1, "k1")));
  crash();                       // first: some partitions may still be recovering from the store
  store_ = make_memory_store();  // all snapshots deleted
  start();
  after = 0;
  for (int i = 0; i < 7; ++i) after += state("a" + std::to_string(i)).value();
  EXPECT_EQ(after, before);
}

// What the states of a type never call for need not be looked for: of thousands of keys none is
// read at a start.
TEST_F(HostFixture, AStartReadsBackOnlyActorsThatMayWaitForSomething) {
  limits_.checkpoint_every_ms = 3'600'000;
  restart();
  const ActorKey key = actors::idempotency_key("demo", "k");
  v1::IdempotencyCommand claim;
  claim.mutable_claim_key()->set_request_hash("h");
  const auto claimed = [&](const std::string& id) {
    for (;;) {
      std::promise<Result<Accepted>> promise;
      host_->submit({key, claim.SerializeAsString(), id, {}, {}, {}, {}},
                    [&](Result<Accepted> r) { promise.set_value(std::move(r)); });
      auto result = promise.get_future().get();
      if (result || result.error().code != Code::kUnavailable) return result.value();
      std::this_thread::yield();
    }
  };
  const auto first = claimed("claim-1");
  ASSERT_TRUE(add("x", 1, "add-1"));
  restart();
  EXPECT_EQ(state("x").value(), 1);
  EXPECT_EQ(host_->metrics().restored_frames, 1u);
  const auto second = claimed("claim-2");
  EXPECT_EQ(host_->metrics().restored_frames, 2u);
  EXPECT_EQ(second.sequence, first.sequence);  // the key was found taken: nothing new happened
}

TEST_F(HostFixture, TransfersArriveOnceOverRestarts) {
  constexpr int kCounters = 16, kRounds = 6, kTransfers = 40;
  for (int i = 0; i < kCounters; ++i)
    ASSERT_TRUE(add(std::to_string(i), 1000, "seed" + std::to_string(i)));
  for (int round = 0; round < kRounds; ++round) {
    std::vector<std::future<void>> answers;
    for (int i = 0; i < kTransfers; ++i) {
      v1::CounterCommand c;
      c.mutable_transfer()->set_amount(1 + i);
      *c.mutable_transfer()->mutable_to() =
          actors::to_ref(counter(std::to_string((i * 7 + round) % kCounters)));
      auto promise = std::make_shared<std::promise<void>>();
      answers.push_back(promise->get_future());
      host_->submit({counter(std::to_string(i % kCounters)),
                     c.SerializeAsString(),
                     "t" + std::to_string(round * 100 + i),
                     {},
                     {},
                     {},
                     {}},
                    [promise](Result<Accepted>) { promise->set_value(); });
    }
    if (round % 2 == 0)
      for (auto& a : answers) a.wait();  // else the crash comes in between
    restart();
  }
  const auto total = [&] {
    std::int64_t sum = 0;
    for (int i = 0; i < kCounters; ++i) sum += state(std::to_string(i)).value();
    return sum;
  };
  while (total() != kCounters * 1000)
    std::this_thread::yield();  // what is under way arrives; ends by the time limit
  restart();
  EXPECT_EQ(total(), kCounters * 1000);
}

TEST_F(HostFixture, AFullDiskRefusesWritesServesReadsAndIsLeftBehind) {
  crash();
  std::filesystem::remove_all(folder_);
  segment_bytes_ = 64 << 10;
  start();
  disk_full_ = true;
  std::int64_t acknowledged = 0;
  Result<Accepted> last;
  do {
    last = add("c", 1, "n" + std::to_string(acknowledged));
    if (last) ++acknowledged;
  } while (last);
  EXPECT_EQ(last.error().code, Code::kStorageFull) << last.error().message;
  EXPECT_EQ(eventually("c", [](const auto&) { return true; }).value(), acknowledged);
  const auto refused = add("other", 1, "x");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kStorageFull);
  for (const auto& p : host_->status()) EXPECT_TRUE(!p.serving || p.problem.empty());
  const auto again = add("c", 1, "n0");
  ASSERT_TRUE(again) << "a recorded answer needs no space";
  EXPECT_TRUE(again->replayed);
  disk_full_ = false;
  for (auto r = add("c", 1, "after"); !r; r = add("c", 1, "after"))
    ASSERT_EQ(r.error().code, Code::kStorageFull) << r.error().message;
  EXPECT_EQ(state("c").value(), acknowledged + 1);
  restart();
  EXPECT_EQ(state("c").value(), acknowledged + 1);
}

// Also what was being decided when the space ended: it was not recorded, and the disk is why. What
// was being read then is shown.
TEST_F(HostFixture, WhatAFullDiskStoppedIsToldSo) {
  crash();
  std::filesystem::remove_all(folder_);
  segment_bytes_ = 64 << 10;
  start();
  std::atomic<bool> stop{false};
  std::atomic<int> taken{0}, refused{0}, other{0};
  std::vector<std::thread> clients;
  for (int t = 0; t < 8; ++t)
    clients.emplace_back([&, t] {
      for (int n = 0; !stop; ++n) {
        const std::string id = std::to_string(t) + "-" + std::to_string(n);
        const auto r = add("c" + std::to_string(n % 50), 1, id);
        ++(r ? taken : r.error().code == Code::kStorageFull ? refused : other);
      }
    });
  clients.emplace_back([&] {  // reads go on: state() takes no 507
    for (int n = 0; !stop; ++n) state("c" + std::to_string(n % 50));
  });
  const auto more = [](const std::atomic<int>& count) {
    for (const int before = count; count == before;) std::this_thread::yield();
  };
  for (int i = 0; i < 40; ++i) {
    disk_full_ = true;
    more(refused);
    disk_full_ = false;
    more(taken);
  }
  stop = true;
  for (auto& c : clients) c.join();
  EXPECT_EQ(other, 0);
}

TEST_F(HostFixture, TimerFiresOnceAndNotEarlyOverARestart) {
  v1::CounterCommand c;
  const std::int64_t due = clock_->now_ms() + 150;
  c.mutable_arm_timer()->set_timer_id("t");
  c.mutable_arm_timer()->set_due_ms(due);
  ASSERT_TRUE(submit(counter("a"), c, "arm"));
  restart();
  EXPECT_EQ(state("a").timers_size(), 1);
  eventually("a", [](const auto& s) { return s.timers_size() == 0; });
  EXPECT_GE(clock_->now_ms(), due);
  auto history = host_->history(counter("a"), Sequence{0}, 100);
  ASSERT_TRUE(history);
  ASSERT_EQ(history->size(), 2u);
  EXPECT_EQ((*history)[1].event.type(), "counter.timer.fired");
}

TEST_F(HostFixture, EffectRunsOnceAndAnAtMostOnceOneIsUnknownAfterACrash) {
  v1::CounterCommand c;
  c.mutable_call_out()->set_call_id("good");
  ASSERT_TRUE(submit(counter("a"), c, "c1"));
  eventually("a", [](const auto& s) { return s.calls_size() == 0; });
  EXPECT_EQ(runner_.count("good"), 1);
  runner_.silent = true;  // the outside world never answers before the crash
  c.mutable_call_out()->set_call_id("lost");
  ASSERT_TRUE(submit(counter("a"), c, "c2"));
  while (runner_.count("lost") == 0) std::this_thread::yield();
  restart();
  eventually("a", [](const auto& s) { return s.calls_size() == 0; });
  EXPECT_EQ(runner_.count("lost"), 1);
  auto history = host_->history(counter("a"), Sequence{0}, 100);
  ASSERT_TRUE(history);
  v1::CounterEvent last;
  ASSERT_TRUE(last.ParseFromString(history->back().event.payload()));
  EXPECT_EQ(last.call_settled().outcome(), "unknown");
  // Shown until a person settles it, across further restarts too, and never run meanwhile.
  restart();
  all_serve();
  auto shown = host_->pending_effects().value();
  while (shown.empty()) shown = host_->pending_effects().value();
  ASSERT_EQ(shown.size(), 1u);
  EXPECT_EQ(shown[0].state, "unknown");
  EXPECT_EQ(runner_.count("lost"), 1);
  runner_.silent = false;
  c.mutable_resolve_effect()->set_effect_id("lost");
  c.mutable_resolve_effect()->set_outcome(v1::SETTLEMENT_RETRY);
  c.mutable_resolve_effect()->set_reason("the other side has no trace of it");
  ASSERT_TRUE(submit(counter("a"), c, "c3"));
  eventually("a", [](const auto& s) { return s.calls_size() == 0; });
  EXPECT_EQ(runner_.count("lost"), 2);
  while (!host_->pending_effects()->empty()) std::this_thread::yield();
  EXPECT_EQ(submit(counter("a"), c, "c4").error().code, Code::kConflict);
}

// What waits for one actor is limited; others of its partition still get in.
TEST_F(HostFixture, ABusyActorRefusesBeforeItFillsTheQueueOfOthers) {
  crash();
  limits_.waiting_per_actor = 4;
  start();
  const auto partition = [](const std::string& id) { return partition_of(counter(id), 8).value; };
  std::string calm = "calm";
  while (partition(calm) != partition("busy")) calm += "m";
  ASSERT_TRUE(add("busy", 1, "first"));
  std::atomic<int> taken{0}, refused{0}, calm_taken{0}, answered{0};
  int sent = 0;
  const auto send = [&](const std::string& actor) {
    host_->submit(one_more(actor, "n" + std::to_string(++sent), false),
                  [&, actor](const Result<Accepted>& r) {
                    if (r) ++(actor == "busy" ? taken : calm_taken);
                    if (!r && r.error().code == Code::kOverloaded) ++refused;
                    ++answered;
                  });
  };
  {
    std::lock_guard held(disk_);
    while (refused == 0) send("busy");  // into a frame, or waiting, or refused
    send(calm);
  }
  while (answered < sent) std::this_thread::yield();
  EXPECT_EQ(calm_taken, 1);
  EXPECT_EQ(taken + calm_taken + refused, sent);
  EXPECT_EQ(state("busy").value(), 1 + taken);
  EXPECT_EQ(state(calm).value(), 1);
  ASSERT_TRUE(add("busy", 1, "later")) << "nothing waits any more";
}

// What comes for an actor at its limit is refused on the caller's thread, without the partition.
TEST_F(HostFixture, AFullActorRefusesAtOnceButAnswersWhatItKnows) {
  crash();
  limits_.waiting_per_actor = 4;
  start();
  ASSERT_TRUE(add("busy", 1, "first"));
  const auto caller = std::this_thread::get_id();
  std::atomic<int> taken{0}, at_once{0}, answered{0};
  int sent = 0;
  const auto send = [&] {
    host_->submit(
        one_more("busy", "n" + std::to_string(++sent), true), [&](const Result<Accepted>& r) {
          taken += r.has_value();
          at_once +=
              !r && r.error().code == Code::kOverloaded && std::this_thread::get_id() == caller;
          ++answered;
        });
  };
  {
    std::lock_guard held(disk_);
    while (at_once == 0 && sent < 100'000) send();
    EXPECT_EQ(at_once, 1);
    const auto again = add("busy", 1, "first");
    EXPECT_TRUE(again && again->replayed) << "an answer that is known";
  }
  while (answered < sent) std::this_thread::yield();
  const int before = taken;
  send();
  while (answered < sent) std::this_thread::yield();
  EXPECT_EQ(taken, before + 1) << "it is full no more";
  EXPECT_EQ(state("busy").value(), 1 + taken);
}

// They are taken in turns; a stop answers those that still wait.
TEST_F(HostFixture, ArrivalsKeepTheirOrderAndAreAllAnswered) {
  constexpr int kSent = 1000;
  state("busy");  // serves
  std::mutex mutex;
  std::vector<std::uint64_t> sequences;
  std::atomic<int> answered{0};
  const auto send = [&](int n) {
    v1::CounterCommand c;
    c.mutable_add()->set_amount(1);
    host_->submit(
        {counter("busy"), c.SerializeAsString(), "n" + std::to_string(n), {}, {}, {}, {}, true},
        [&](const Result<Accepted>& r) {
          std::lock_guard lock(mutex);
          if (r) sequences.push_back(r->sequence.value);
          ++answered;
        });
  };
  for (int n = 0; n < kSent; ++n) send(n);
  while (answered < kSent) std::this_thread::yield();
  ASSERT_EQ(sequences.size(), static_cast<std::size_t>(kSent));
  for (std::size_t i = 0; i < sequences.size(); ++i) ASSERT_EQ(sequences[i], i + 1);
  for (int n = 0; n < kSent; ++n) send(kSent + n);
  crash();
  EXPECT_EQ(answered, 2 * kSent);
}

TEST_F(HostFixture, PoisonParksOnlyItsActor) {
  ASSERT_TRUE(add("good", 1, "g1"));
  v1::CounterCommand c;
  c.mutable_explode();
  auto poisoned = submit(counter("bad"), c, "boom");
  ASSERT_FALSE(poisoned);
  EXPECT_EQ(poisoned.error().code, Code::kParked);
  auto later = add("bad", 1, "b1");
  ASSERT_FALSE(later);
  EXPECT_EQ(later.error().code, Code::kParked);
  EXPECT_EQ(value(add("good", 1, "g2")), 2);
}

TEST_F(HostFixture, DamagedHistoryIsNotServed) {
  ASSERT_TRUE(add("a", 1, "k"));
  crash();
  auto damage = folder_ / events::segment_name(0);
  std::FILE* f = std::fopen(damage.c_str(), "r+b");
  std::fseek(f, 64 + 32 + 30, SEEK_SET);
  std::fputc(0x5a, f);
  std::fclose(f);
  events::EmbeddedOptions o;
  o.folder = folder_.string();
  auto log = events::open_embedded_log(std::move(o));
  ASSERT_FALSE(log);
  EXPECT_EQ(log.error().code, Code::kCorrupt);
  EXPECT_NE(log.error().message.find(".seg"), std::string::npos) << log.error().message;
  std::filesystem::remove_all(folder_);
  start();
}

}  // namespace
}  // namespace soma::runtime
