// A node that keeps itself warm for another's partition: what a takeover still reads, and that
// nothing but the log counts.
#include "runtime/host/standby.h"

#include "tests/unit/host/gated_store.h"
#include "tests/unit/host/shared_fixture.h"

namespace soma::runtime {

namespace {

class Standbys : public SharedHosts {
 protected:
  void SetUp() override {
    limits_.checkpoint_every_events = 50;
    for (Member* m : {&a_, &b_}) m->store = std::make_unique<GatedStore>();
    SharedHosts::SetUp();
    a_.host->open(p_);
  }
  void TearDown() override {
    follow_.clear();
    SharedHosts::TearDown();
  }

  void fill(int from, int to) {
    for (int i = from; i <= to; ++i)
      ASSERT_TRUE(add_at(*a_.host, name(i), i, "add" + std::to_string(i)));
  }
  // Sixteen actors of one partition.
  std::string name(int i) {
    while (names_.size() < 16) {
      std::string next = "x" + std::to_string(tried_++);
      if (partition(next) == p_) names_.push_back(next);
    }
    return names_[static_cast<std::size_t>(i) % names_.size()];
  }
  std::int64_t expected(const std::string& id, int to) {
    std::int64_t sum = 0;
    for (int i = 1; i <= to; ++i)
      if (name(i) == id) sum += i;
    return sum;
  }
  // As a node's follower of the journal does; every `skip`-th frame gets lost on the way.
  void follow(PartitionHost& host, int skip = 0) {
    for (std::uint32_t p = 0; p < log_->partition_count(); ++p) {
      auto reader = follow_.try_emplace(p, *log_, PartitionId{p}).first;
      for (;;) {
        auto frames = reader->second.next();
        ASSERT_TRUE(frames) << frames.error().message;
        if (frames->empty()) break;
        for (const auto& frame : *frames)
          if (skip == 0 || ++told_frames_ % skip != 0) host.followed(frame);
      }
    }
  }
  // Until the standby has all that the log holds.
  void warm(PartitionHost& host, int skip = 0) {
    follow(host, skip);
    if (skip) {  // nobody takes over before it was told of the last one
      ++last_;
      fill(last_, last_);
      follow(host);
    }
    for (;;) {
      const auto standbys = host.standbys();
      ASSERT_EQ(standbys.size(), 1u);
      ASSERT_EQ(standbys[0].problem, "");
      if (standbys[0].next == log_->end(p_)) return;
      if (skip) {  // what is missing is read when the next one comes
        ++last_;
        fill(last_, last_);
      }
      follow(host);
      std::this_thread::yield();
    }
  }
  void stand_by(PartitionHost& host) {
    host.stand_by_for({p_});
    while (host.standbys().empty()) std::this_thread::yield();
  }
  // Of one that is warm; what it folded is in the store then.
  void let_go(Member& m) {
    m.host->stand_by_for({});
    while (!m.host->standbys().empty()) std::this_thread::yield();
    for (;; std::this_thread::yield())
      if (const auto c = m.store->checkpoint(p_); c && c->next == log_->end(p_)) return;
  }
  static GatedStore& store_of(Member& m) { return static_cast<GatedStore&>(*m.store); }
  Epoch epoch_of(PartitionHost& host) {
    for (const auto& status : host.status())
      if (status.partition == p_) return status.epoch;
    return {};
  }
  void expect_all(PartitionHost& host) {
    for (const auto& id : names_) EXPECT_EQ(*value_at(host, id), expected(id, last_)) << id;
  }
  std::uint64_t takeover_frames(PartitionHost& host) {
    const auto before = host.metrics().recovered_frames.load();
    host.open(p_);
    EXPECT_TRUE(value_at(host, name(1)));
    return host.metrics().recovered_frames.load() - before;
  }

  const PartitionId p_ = partition_of(counter("x0"), 8);
  int last_ = 0;

 private:
  std::vector<std::string> names_;
  int tried_ = 0, told_frames_ = 0;
  std::map<std::uint32_t, events::FrameReader> follow_;
};

TEST_F(Standbys, ATakeoverReadsAlmostNothing) {
  stand_by(*b_.host);
  fill(1, last_ = 300);
  warm(*b_.host);
  a_.host.reset();                           // as by kill -9
  EXPECT_LE(takeover_frames(*b_.host), 1u);  // its own claim at most
  expect_all(*b_.host);
  const auto again = add_at(*b_.host, name(7), 7, "add7");
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->replayed);
  EXPECT_TRUE(b_.host->standbys().empty());
  const auto history = b_.host->history(counter(name(3)), {}, 1000);
  ASSERT_TRUE(history);
  EXPECT_EQ(history->size(), 300u / 16 + 1);
}

TEST_F(Standbys, WithoutOneATakeoverReadsEverything) {
  fill(1, last_ = 300);
  a_.host.reset();
  EXPECT_GE(takeover_frames(*b_.host), 300u);
  expect_all(*b_.host);
}

TEST_F(Standbys, WhatItIsNotToldItReadsInTheLog) {
  fill(1, 40);  // before it stands by
  stand_by(*b_.host);
  fill(41, last_ = 200);
  warm(*b_.host, 3);
  a_.host.reset();
  EXPECT_LE(takeover_frames(*b_.host), 1u);
  expect_all(*b_.host);
}

TEST_F(Standbys, DecidesPublishesAndStartsNothing) {
  stand_by(*b_.host);
  fill(1, last_ = 20);
  a_.runner.silent = true;
  v1::CounterCommand c;
  c.mutable_call_out()->set_call_id("call");
  std::promise<Result<Accepted>> promise;
  a_.host->submit({counter(name(1)), c.SerializeAsString(), "call", {}, {}, {}, {}},
                  [&](Result<Accepted> r) { promise.set_value(std::move(r)); });
  ASSERT_TRUE(promise.get_future().get());
  warm(*b_.host);
  const Offset end = log_->end(p_);
  EXPECT_EQ(try_add(*b_.host, name(1), 1, "n").error().code, Code::kFenced);
  EXPECT_EQ(value_at(*b_.host, name(1)).error().code, Code::kFenced);
  EXPECT_EQ(b_.host->history(counter(name(1)), {}, 10).error().code, Code::kFenced);
  EXPECT_TRUE(b_.host->status().empty());
  EXPECT_TRUE(b_.runner.runs.empty());
  EXPECT_EQ(log_->end(p_), end);
  EXPECT_EQ(a_.fenced, 0);
  fill(21, last_ = 21);  // its owner goes on
}

TEST_F(Standbys, GoesOnFromWhatTheOwnerLeftAndBack) {
  stand_by(*b_.host);
  fill(1, last_ = 100);
  warm(*b_.host);
  close(*a_.host, p_);
  EXPECT_LE(takeover_frames(*b_.host), 1u);
  std::swap(a_.host, b_.host);  // `a_` is the owner again, on the other store
  std::swap(a_.store, b_.store);
  stand_by(*b_.host);
  fill(101, last_ = 180);
  warm(*b_.host);
  a_.host.reset();
  EXPECT_LE(takeover_frames(*b_.host), 1u);
  expect_all(*b_.host);
}

TEST_F(Standbys, TheLogWinsOverAStandbyOfAnotherLog) {
  stand_by(*b_.host);
  fill(1, last_ = 120);
  warm(*b_.host);
  let_go(b_);
  StateStore::Batch lie;
  lie.checkpoint = b_.store->checkpoint(p_);
  ASSERT_TRUE(lie.checkpoint);
  lie.checkpoint->last_hash[0] ^= 1;
  for (const auto& key : b_.store->list(p_, "demo", "counter", nullptr, 100)) {
    auto snapshot = *b_.store->load(p_, key);
    v1::CounterState state;
    state.set_value(-1);
    snapshot.state = state.SerializeAsString();
    lie.snapshots.push_back(snapshot);
  }
  ASSERT_FALSE(lie.snapshots.empty());
  ASSERT_TRUE(b_.store->write(p_, lie));
  a_.host.reset();
  EXPECT_GE(takeover_frames(*b_.host), 120u);  // all of it is thrown away
  expect_all(*b_.host);
}

TEST_F(Standbys, TheLogWinsOverStaleSnapshots) {
  stand_by(*b_.host);
  fill(1, last_ = 100);
  warm(*b_.host);
  StateStore::Batch old;
  for (const auto& key : b_.store->list(p_, "demo", "counter", nullptr, 100)) {
    old.snapshots.push_back(*b_.store->load(p_, key));
    old.snapshots.back().schema_hash += old.snapshots.size() % 2 ? "" : "another";
  }
  ASSERT_FALSE(old.snapshots.empty());
  fill(101, last_ = 200);
  warm(*b_.host);
  let_go(b_);
  ASSERT_TRUE(b_.store->write(p_, old));  // half of them old, half of them of another schema
  a_.host.reset();
  takeover_frames(*b_.host);
  expect_all(*b_.host);
}

TEST_F(Standbys, BeginsAnewWhenTheStoreDoes) {
  stand_by(*b_.host);
  fill(1, last_ = 60);
  warm(*b_.host);
  let_go(b_);
  ASSERT_TRUE(b_.store->drop(p_));
  stand_by(*b_.host);
  fill(61, last_ = 100);
  warm(*b_.host);
  a_.host.reset();
  EXPECT_LE(takeover_frames(*b_.host), 1u);
  expect_all(*b_.host);
}

TEST_F(Standbys, SendsThatArrivedAreNotKeptAsUnderWay) {
  std::string there = "there";
  for (int i = 0; partition(there) == p_; ++i) there = "there" + std::to_string(i);
  stand_by(*b_.host);
  a_.host->open(partition(there));
  fill(1, last_ = 1);
  ASSERT_TRUE(add_at(*a_.host, name(1), 1000, "funds"));
  for (int i = 0; i < 60; ++i) {
    v1::CounterCommand c;
    c.mutable_transfer()->set_amount(1);
    *c.mutable_transfer()->mutable_to() = actors::to_ref(counter(there));
    std::promise<Result<Accepted>> promise;
    a_.host->submit(
        {counter(name(1)), c.SerializeAsString(), "t" + std::to_string(i), {}, {}, {}, {}},
        [&](Result<Accepted> r) { promise.set_value(std::move(r)); });
    ASSERT_TRUE(promise.get_future().get());
  }
  while (*value_at(*a_.host, there) < 60) std::this_thread::yield();
  follow(*b_.host);
  fill(2, 2);  // something more to write, now that their arrival is known
  warm(*b_.host);
  let_go(b_);
  v1::PartitionExtra extra;
  ASSERT_TRUE(extra.ParseFromString(b_.store->checkpoint(p_)->extra));
  EXPECT_EQ(extra.outbox_size(), 0);
  ASSERT_EQ(extra.last_sent_size(), 1);
  EXPECT_EQ(extra.last_sent(0).source_number(), 60u);
}

TEST_F(Standbys, OneThatReadsHoldsUpNobodyWhoAsks) {
  stand_by(*b_.host);
  fill(1, last_ = 60);
  std::unique_lock gate(store_of(b_).loads);
  follow(*b_.host);
  while (store_of(b_).waiting == 0) std::this_thread::yield();
  EXPECT_EQ(b_.host->standbys().size(), 1u);
  b_.host->stand_by_for({});  // it is let go while it is at it
  while (!b_.host->standbys().empty()) std::this_thread::yield();
  a_.host.reset();
  b_.host->open(p_);  // and is waited for
  gate.unlock();
  expect_all(*b_.host);
}

TEST_F(Standbys, WhatWasFoldedBeforeAnErasureIsNotWrittenAfterIt) {
  stand_by(*b_.host);
  fill(1, last_ = 30);
  warm(*b_.host);
  ASSERT_TRUE(b_.store->drop_all());
  a_.host.reset();
  EXPECT_GE(takeover_frames(*b_.host), 30u);
  expect_all(*b_.host);
}

TEST_F(Standbys, SaysWhenItHasBegunAgainAfterAnErasure) {
  stand_by(*b_.host);
  fill(1, last_ = 30);
  warm(*b_.host);
  EXPECT_EQ(b_.host->standbys()[0].generation, b_.store->generation());
  ASSERT_TRUE(b_.store->drop_all());
  b_.host->look_all();
  while (b_.host->standbys()[0].generation != b_.store->generation()) std::this_thread::yield();
  EXPECT_TRUE(b_.store->list(p_, "demo", "counter", nullptr, 100).empty());
  fill(31, last_ = 100);
  warm(*b_.host);
  a_.host.reset();
  EXPECT_LE(takeover_frames(*b_.host), 1u);
  expect_all(*b_.host);
}

TEST_F(Standbys, BeginsBehindWhatTheOwnerStillWrites) {
  std::unique_lock gate(store_of(a_).writes);
  fill(1, last_ = 60);
  while (store_of(a_).waiting == 0) std::this_thread::yield();
  b_.host->open(p_);
  expect_all(*b_.host);
  a_.host->claimed_elsewhere(p_, epoch_of(*b_.host));
  while (a_.host->here(p_)) std::this_thread::yield();
  a_.host->stand_by_for({p_});
  EXPECT_FALSE(value_at(*a_.host, name(1)));  // by now it has been told to
  EXPECT_TRUE(a_.host->standbys().empty());
  gate.unlock();
  while (a_.host->standbys().empty()) std::this_thread::yield();
  std::swap(a_.host, b_.host);
  std::swap(a_.store, b_.store);
  fill(61, last_ = 90);
  warm(*b_.host);
  a_.host.reset();
  EXPECT_LE(takeover_frames(*b_.host), 1u);
  expect_all(*b_.host);
}

TEST_F(Standbys, AHandoverCountsOnlyWhileTheLeaversClaimIsTheHighest) {
  fill(1, last_ = 20);
  const Epoch first = epoch_of(*a_.host);
  close(*a_.host, p_);
  a_.host->open(p_);  // it came back
  fill(21, last_ = 40);
  b_.host->open(p_, first);
  while (b_.fenced == 0) std::this_thread::yield();
  EXPECT_FALSE(b_.host->here(p_));
  fill(41, last_ = 60);
  const Epoch second = epoch_of(*a_.host);
  EXPECT_GT(second, first);
  close(*a_.host, p_);
  b_.host->open(p_, second);
  expect_all(*b_.host);
}

TEST_F(Standbys, AProblemLastsWhenItComesAgainAndAgain) {
  store_of(b_).writes_fail = true;
  stand_by(*b_.host);
  fill(1, last_ = 60);
  const auto status = [&] { return b_.host->standbys().at(0); };
  const auto problem = [&] {
    b_.host->look_all();
    std::this_thread::yield();
    return !status().problem.empty();
  };
  while (!problem()) {
  }
  while (!status().lasting) b_.host->look_all();
  store_of(b_).writes_fail = false;
  while (problem()) {
  }
  EXPECT_FALSE(status().lasting);
  warm(*b_.host);
}

TEST_F(Standbys, APassingProblemIsNotLasting) {
  Arrivals arrivals;
  GatedStore store;
  const events::EntryReader entries(*log_);
  Standby standby(
      p_, {log_.get(), &entries, catalog_.get(), &store, clock_.get(), &limits_, &arrivals});
  fill(1, last_ = 60);
  store.writes_fail = true;
  standby.look();
  EXPECT_NE(standby.problem(), "");
  EXPECT_FALSE(standby.lasting());
  store.writes_fail = false;
  standby.look();
  EXPECT_EQ(standby.problem(), "");
  EXPECT_EQ(standby.next(), log_->end(p_));
}

TEST_F(Standbys, ADamagedLogLasts) {
  Arrivals arrivals;
  GatedStore store;
  StateStore::Batch beyond;
  beyond.checkpoint.emplace();
  beyond.checkpoint->next = Offset{1'000'000};
  ASSERT_TRUE(store.write(p_, beyond));
  const events::EntryReader entries(*log_);
  Standby standby(
      p_, {log_.get(), &entries, catalog_.get(), &store, clock_.get(), &limits_, &arrivals});
  standby.look();
  EXPECT_NE(standby.problem(), "");
  EXPECT_TRUE(standby.lasting());
}

}  // namespace

}  // namespace soma::runtime
