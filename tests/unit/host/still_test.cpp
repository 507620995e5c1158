// A partition that hangs: when it is told, and what is not taken for it.
#include "runtime/host/still_watch.h"
#include "tests/unit/host/gated_store.h"
#include "tests/unit/host/shared_fixture.h"

namespace soma::runtime {

namespace {

constexpr std::int64_t kTickMs = 5000, kStillMs = 10'000;

TEST(StillWatch, MovesWhileItsBeatsRise) {
  StillWatch watch;
  for (std::uint64_t beat = 1; beat < 100; ++beat)
    ASSERT_FALSE(watch.look(true, beat, kTickMs, kStillMs));
}

TEST(StillWatch, IsStillAfterTenSecondsUntilItMoves) {
  StillWatch watch;
  EXPECT_FALSE(watch.look(true, 7, kTickMs, kStillMs));
  EXPECT_FALSE(watch.look(true, 7, kTickMs, kStillMs));
  for (int s = 10; s < 600; s += 5) EXPECT_TRUE(watch.look(true, 7, kTickMs, kStillMs)) << s;
  EXPECT_FALSE(watch.look(true, 8, kTickMs, kStillMs));  // it came back
}

TEST(StillWatch, CountsLooksSoThatAFrozenProcessIsNotTakenForAHangingOne) {
  StillWatch watch;
  watch.look(true, 7, kTickMs, kStillMs);  // then frozen for an hour: there was one look since
  EXPECT_FALSE(watch.look(true, 7, kTickMs, kStillMs));
}

TEST(StillWatch, WhatDoesNotServeIsNotJudged) {
  StillWatch watch;
  for (int i = 0; i < 100; ++i) ASSERT_FALSE(watch.look(false, 7, kTickMs, kStillMs));
}

// A callback that blocks holds its partition up, as a decide that never ends would.
class Hanging : public HostFixture {
 protected:
  void SetUp() override {
    limits_.checkpoint_every_ms = 200;
    limits_.still_ms = 3000;
    HostFixture::SetUp();
  }
  Host::PartitionStatus status_of(const std::string& id) const {
    return host_->status()[partition_of(counter(id), log_->partition_count()).value];
  }
};

TEST_F(Hanging, IsNotReadyAndOthersAre) {
  ASSERT_TRUE(add("x", 1, "1"));
  std::promise<void> go_on, stuck;
  v1::CounterCommand c;
  c.mutable_add()->set_amount(1);
  host_->submit({counter("x"), c.SerializeAsString(), "2", {}, {}, {}, {}}, [&](Result<Accepted>) {
    stuck.set_value();
    go_on.get_future().wait();
  });
  stuck.get_future().wait();
  while (status_of("x").serving) std::this_thread::yield();
  EXPECT_NE(status_of("x").problem, "");
  std::string other = "y";
  while (partition_of(counter(other), log_->partition_count()) ==
         partition_of(counter("x"), log_->partition_count()))
    other += "y";
  EXPECT_TRUE(add(other, 1, "3"));
  EXPECT_TRUE(status_of(other).serving);
  go_on.set_value();
  while (!status_of("x").serving) std::this_thread::yield();
  EXPECT_EQ(state("x").value(), 2);
}

// Two partitions' recoveries hold both threads of the host for many times the limit.
class Busy : public SharedHosts {
 protected:
  void SetUp() override {
    limits_.checkpoint_every_ms = 40;
    limits_.still_ms = 100;
    a_.store = std::make_unique<GatedStore>();
    SharedHosts::SetUp();
  }
};

TEST_F(Busy, RecoveriesOfOthersAreNoReasonToCallAPartitionStill) {
  const PartitionId p = partition("x");
  a_.host->open(p);
  ASSERT_TRUE(add_at(*a_.host, "x", 1, "1"));
  auto& store = static_cast<GatedStore&>(*a_.store);
  std::unique_lock gate(store.checkpoints);
  const std::uint32_t count = log_->partition_count();
  a_.host->open(PartitionId{(p.value + 1) % count});
  a_.host->open(PartitionId{(p.value + 2) % count});
  while (store.waiting < 2) std::this_thread::yield();
  const auto until = clock_->now_ms() + 20 * limits_.still_ms;
  while (clock_->now_ms() < until) {
    for (const auto& status : a_.host->status())
      if (status.partition == p) {
        ASSERT_TRUE(status.serving) << status.problem;
      }
    std::this_thread::yield();
  }
  gate.unlock();
  EXPECT_EQ(*value_at(*a_.host, "x"), 1);
}

TEST_F(HostFixture, WhatIsReadBackForAnActorCountsAsProgress) {
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(add("x", 1, std::to_string(i)));
  restart();
  EXPECT_EQ(state("x").value(), 10);
  EXPECT_GE(host_->metrics().restored_frames, 10u);
}

TEST_F(HostFixture, ALongRecoveryIsFollowedByACheckpoint) {
  limits_.checkpoint_every_ms = 3'600'000;
  restart();
  for (int i = 0; i < 60; ++i) ASSERT_TRUE(add("x", 1, std::to_string(i)));
  const PartitionId p = partition_of(counter("x"), log_->partition_count());
  ASSERT_FALSE(store_->checkpoint(p));
  limits_.checkpoint_every_events = 50;
  restart();
  while (!store_->checkpoint(p)) std::this_thread::yield();
  EXPECT_EQ(store_->load(p, counter("x"))->sequence, Sequence{60});
}

}  // namespace

}  // namespace soma::runtime
