// Who decides for a partition of two nodes, and what the other says.
#include "tests/unit/host/shared_fixture.h"

namespace soma::runtime {

namespace {

TEST_F(SharedHosts, APartitionThatIsNotOursAnswersNothing) {
  EXPECT_EQ(try_add(*a_.host, "x", 1, "1").error().code, Code::kFenced);
  EXPECT_EQ(value_at(*a_.host, "x").error().code, Code::kFenced);
  EXPECT_EQ(a_.host->history(counter("x"), {}, 10).error().code, Code::kFenced);
  EXPECT_TRUE(a_.host->status().empty());
  a_.host->open(partition("x"));
  ASSERT_TRUE(add_at(*a_.host, "x", 1, "1"));
  EXPECT_EQ(a_.host->status().size(), 1u);
}

TEST_F(SharedHosts, AHandedOverPartitionGoesOnWithWhatWasThere) {
  const auto p = partition("x");
  a_.host->open(p);
  for (int i = 1; i <= 20; ++i) ASSERT_TRUE(add_at(*a_.host, "x", 1, std::to_string(i)));
  close(*a_.host, p);
  EXPECT_FALSE(a_.host->here(p));
  EXPECT_EQ(try_add(*a_.host, "x", 1, "21").error().code, Code::kFenced);
  b_.host->open(p);
  const auto again = add_at(*b_.host, "x", 1, "20");
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->replayed);  // a retry at the new owner is not done twice
  ASSERT_TRUE(add_at(*b_.host, "x", 1, "21"));
  EXPECT_EQ(*value_at(*b_.host, "x"), 21);
  close(*b_.host, p);
  a_.host->open(p);  // and back, over a checkpoint of its own that is older
  ASSERT_TRUE(add_at(*a_.host, "x", 1, "22"));
  EXPECT_EQ(*value_at(*a_.host, "x"), 22);
  EXPECT_EQ(a_.fenced + b_.fenced, 0);
}

TEST_F(SharedHosts, AnOwnerThatWasOvertakenShowsNothingOld) {
  const auto p = partition("x");
  a_.host->open(p);
  ASSERT_TRUE(add_at(*a_.host, "x", 1, "1"));
  b_.host->open(p);  // as when `a` was frozen for long
  ASSERT_TRUE(add_at(*b_.host, "x", 1, "2"));
  EXPECT_EQ(value_at(*a_.host, "x").error().code, Code::kFenced);  // its memory says 1
  EXPECT_EQ(a_.fenced, 1);
  EXPECT_FALSE(a_.host->here(p));
  EXPECT_EQ(*value_at(*b_.host, "x"), 2);
  EXPECT_EQ(b_.fenced, 0);
}

// Each command and each read has a round to itself.
class SharedHostsByOne : public SharedHosts {
 protected:
  void SetUp() override {
    limits_.frame_max_entries = 1;
    SharedHosts::SetUp();
  }
};

// What is in flight when it is read proves memory, and not that nobody has claimed behind it.
TEST_F(SharedHostsByOne, AnOwnerWhoseFrameIsInFlightShowsNothingOld) {
  const auto p = partition("x");
  a_.host->open(p);
  ASSERT_TRUE(add_at(*a_.host, "x", 1, "1"));
  const auto send = [&](const char* command_id) {
    v1::CounterCommand c;
    c.mutable_add()->set_amount(1);
    const Offset before = log_->end(p);
    a_.host->submit({counter("x"), c.SerializeAsString(), command_id, {}, {}, {}, {}},
                    [](const Result<Accepted>&) {});
    while (log_->end(p) == before) std::this_thread::yield();
  };
  reports_of_a_->hold();
  send("2");
  b_.host->open(p);
  ASSERT_TRUE(add_at(*b_.host, "x", 1, "3"));
  std::promise<Result<StateView>> shown;
  a_.host->read(counter("x"), [&](Result<StateView> r) { shown.set_value(std::move(r)); });
  send("4");  // by the time it is in the log, the read has been attended to
  reports_of_a_->release();
  const auto view = shown.get_future().get();
  EXPECT_FALSE(view) << "shows " << static_cast<const v1::CounterState&>(*view->state).value()
                     << " after another owner had told 3";
  EXPECT_EQ(*value_at(*b_.host, "x"), 3);
}

// As when its network comes back: what it claims by itself must not take from the one that the
// group has given the partition to.
TEST_F(SharedHosts, AnOwnerThatDroppedItDoesNotClaimItBackFromAnother) {
  const auto p = partition("x");
  a_.host->open(p);
  ASSERT_TRUE(add_at(*a_.host, "x", 1, "1"));
  a_.may_claim = false;
  ASSERT_TRUE(a_.store->drop_all());  // memory may lack what it held: the partition is dropped
  EXPECT_FALSE(try_add(*a_.host, "x", 1, "2"));
  b_.host->open(p);
  ASSERT_TRUE(add_at(*b_.host, "x", 10, "3"));
  a_.may_claim = true;
  while (a_.host->here(p) && b_.fenced == 0) {
    (void)value_at(*b_.host, "x");  // asks the log, and so hears of a claim
    std::this_thread::yield();
  }
  EXPECT_EQ(b_.fenced, 0);
  EXPECT_EQ(a_.fenced, 1);
  ASSERT_TRUE(add_at(*b_.host, "x", 100, "4"));
  EXPECT_EQ(*value_at(*b_.host, "x"), 111);
  a_.host->open(p);  // given anew
  ASSERT_TRUE(add_at(*a_.host, "x", 1000, "5"));
  EXPECT_EQ(*value_at(*a_.host, "x"), 1111);
}

TEST_F(SharedHosts, AnOwnerThatWasOvertakenRecordsNothing) {
  const auto p = partition("x");
  a_.host->open(p);
  ASSERT_TRUE(add_at(*a_.host, "x", 1, "1"));
  b_.host->open(p);
  ASSERT_TRUE(add_at(*b_.host, "x", 10, "2"));
  EXPECT_FALSE(try_add(*a_.host, "x", 100, "3"));
  ASSERT_TRUE(add_at(*b_.host, "x", 100, "3"));  // the client's retry
  EXPECT_EQ(*value_at(*b_.host, "x"), 111);
}

TEST_F(SharedHosts, AClaimReadInTheLogEndsTheServiceAtOnce) {
  const auto p = partition("x");
  a_.host->open(p);
  ASSERT_TRUE(add_at(*a_.host, "x", 1, "1"));
  const Epoch epoch = a_.host->status()[0].epoch;
  a_.host->claimed_elsewhere(p, epoch);  // its own
  ASSERT_TRUE(add_at(*a_.host, "x", 1, "2"));
  a_.host->claimed_elsewhere(p, epoch.next());
  EXPECT_EQ(try_add(*a_.host, "x", 1, "3").error().code, Code::kFenced);
  EXPECT_EQ(a_.fenced, 1);
}

// A warm standby may have read further than the node's observers were told.
TEST_F(SharedHosts, WhatAnotherNodeWroteIsToldInItsPlaceBeforeThePartitionIsServed) {
  const auto p = partition("x");
  std::mutex mutex;
  std::vector<std::string> told;
  a_.host->on_frame([&](const events::ValidFrame& frame) {
    std::lock_guard lock(mutex);
    for (const auto& entry : frame.frame->entries()) told.push_back(entry.context().command_id());
  });
  b_.host->open(p);
  for (const char* id : {"1", "2", "3"}) ASSERT_TRUE(add_at(*b_.host, "x", 1, id));
  a_.host->stand_by_for({p});
  while (a_.host->standbys().empty() || a_.host->standbys()[0].next < log_->end(p)) {
    a_.host->look_all();
    std::this_thread::yield();
  }
  a_.host->open(p);
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(try_add(*a_.host, "x", 1, "4").error().code, Code::kUnavailable);
  events::FrameReader reader(*log_, p);
  const auto follow = [&] {
    const auto frames = reader.next();
    ASSERT_TRUE(frames);
    for (const auto& frame : *frames) a_.host->followed(frame);
  };
  follow();
  ASSERT_TRUE(add_at(*a_.host, "x", 1, "4"));
  follow();  // its own, once more
  EXPECT_EQ(*value_at(*a_.host, "x"), 4);
  std::lock_guard lock(mutex);
  EXPECT_EQ(told, (std::vector<std::string>{"1", "2", "3", "4"}));
}

TEST_F(SharedHosts, SendsBetweenOwnersArriveOnceThoughHalfOfThemAreLost) {
  std::string there = "there";
  for (int i = 0; partition(there) == partition("here"); ++i) there = "there" + std::to_string(i);
  lose_ = true;
  a_.host->open(partition("here"));
  b_.host->open(partition(there));
  ASSERT_TRUE(add_at(*b_.host, there, 1000, "begin"));
  ASSERT_TRUE(add_at(*a_.host, "here", 50, "funds"));
  for (int i = 0; i < 12; ++i) {
    v1::CounterCommand c;
    c.mutable_transfer()->set_amount(1);
    *c.mutable_transfer()->mutable_to() = actors::to_ref(counter(there));
    std::promise<Result<Accepted>> promise;
    do {
      promise = {};
      a_.host->submit(
          {counter("here"), c.SerializeAsString(), "t" + std::to_string(i), {}, {}, {}, {}},
          [&](Result<Accepted> r) { promise.set_value(std::move(r)); });
      auto r = promise.get_future().get();
      if (r) break;
      ASSERT_EQ(r.error().code, Code::kUnavailable);
    } while (true);
  }
  while (*value_at(*b_.host, there) < 1012) std::this_thread::yield();
  // What was not acknowledged comes again to a new owner of the target, and is known there.
  close(*b_.host, partition(there));
  a_.host->open(partition(there));
  ASSERT_TRUE(add_at(*a_.host, there, 1, "end"));
  EXPECT_EQ(*value_at(*a_.host, there), 1013);
}

}  // namespace

}  // namespace soma::runtime
