// A partition that hangs: when it is told, when it is given up.
#include "runtime/host/still_watch.h"
#include "tests/unit/host/fixture.h"

namespace soma::runtime {

namespace {

using Verdict = StillWatch::Verdict;
constexpr std::int64_t kTickMs = 5000;

TEST(StillWatch, MovesWhileItsBeatsRise) {
  StillWatch watch;
  for (std::uint64_t beat = 1; beat < 100; ++beat)
    ASSERT_EQ(watch.look(true, beat, kTickMs), Verdict::kMoves);
}

TEST(StillWatch, IsStillAfterTenSecondsAndLostAfterSixty) {
  StillWatch watch;
  EXPECT_EQ(watch.look(true, 7, kTickMs), Verdict::kMoves);
  EXPECT_EQ(watch.look(true, 7, kTickMs), Verdict::kMoves);
  for (int s = 10; s < 60; s += 5) EXPECT_EQ(watch.look(true, 7, kTickMs), Verdict::kStill) << s;
  EXPECT_EQ(watch.look(true, 7, kTickMs), Verdict::kLost);
  EXPECT_EQ(watch.look(true, 8, kTickMs), Verdict::kMoves);  // it came back
}

TEST(StillWatch, CountsLooksSoThatAFrozenProcessIsNotTakenForAHangingOne) {
  StillWatch watch;
  watch.look(true, 7, kTickMs);  // then frozen for an hour: there was one look since
  EXPECT_EQ(watch.look(true, 7, kTickMs), Verdict::kMoves);
}

TEST(StillWatch, WhatDoesNotServeIsNotJudged) {
  StillWatch watch;
  for (int i = 0; i < 100; ++i) ASSERT_EQ(watch.look(false, 7, kTickMs), Verdict::kMoves);
}

// A callback that blocks holds its partition up, as a decide that never ends would.
class Hanging : public HostFixture {
 protected:
  void SetUp() override {
    limits_.checkpoint_every_ms = 200;
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

}  // namespace

}  // namespace soma::runtime
