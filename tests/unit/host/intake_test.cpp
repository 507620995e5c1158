// The bounds of what waits in front of a partition, alone and in a host.
#include "runtime/host/intake.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/unit/host/fixture.h"

namespace soma::runtime {
namespace {

using Entered = Intake::Entered;

class IntakeTest : public ::testing::Test {
 protected:
  IntakeTest()
      : intake_([] {
          HostLimits limits;
          limits.queue_per_partition = 10;
          limits.waiting_per_actor = 3;
          return limits;
        }()) {}

  static ActorKey counter(const std::string& id) { return {"t", "counter", id, {}}; }

  Entered enter(const std::string& actor, bool once = true) {
    Submission s;
    s.actor = counter(actor);
    s.once = once;
    Host::OnAccepted done = [this](const Result<Accepted>&) { ++answered_; };
    const auto entered = intake_.enter(s, done);
    const bool refused = entered == Entered::kActorFull || entered == Entered::kPartitionFull;
    EXPECT_EQ(static_cast<bool>(done), refused) << "who is refused is told so by the caller";
    return entered;
  }

  Intake intake_;
  int answered_ = 0;
};

TEST_F(IntakeTest, AnActorHasItsPlacesAndNoneOfOthers) {
  EXPECT_EQ(enter("busy"), Entered::kFirst);
  EXPECT_EQ(enter("busy"), Entered::kBehindOthers);
  EXPECT_EQ(enter("busy"), Entered::kBehindOthers);
  EXPECT_EQ(enter("busy"), Entered::kActorFull);
  EXPECT_EQ(enter("calm"), Entered::kBehindOthers);
  // Taken is not begun: the places stay taken.
  EXPECT_EQ(intake_.take(100).arrivals.size(), 4U);
  EXPECT_EQ(enter("busy"), Entered::kActorFull);
  intake_.leave(counter("busy"), true);
  EXPECT_EQ(enter("busy"), Entered::kFirst);
  EXPECT_EQ(enter("busy"), Entered::kActorFull);
}

TEST_F(IntakeTest, WhoHasAKeyWaitsForAPlaceUntilItIsKnownToBeNew) {
  for (int i = 0; i < 3; ++i) enter("busy");
  EXPECT_EQ(enter("busy", false), Entered::kBehindOthers);
  const auto taken = intake_.take(100).arrivals;
  ASSERT_EQ(taken.size(), 4U);
  EXPECT_TRUE(taken[2].counted);
  EXPECT_FALSE(taken[3].counted);
  EXPECT_FALSE(intake_.count(counter("busy")));
  intake_.leave(counter("busy"), true);
  EXPECT_TRUE(intake_.count(counter("busy")));
  EXPECT_EQ(enter("busy"), Entered::kActorFull);
}

TEST_F(IntakeTest, APartitionHasItsBoundForAllTogether) {
  for (int i = 0; i < 10; ++i) EXPECT_NE(enter("a" + std::to_string(i)), Entered::kPartitionFull);
  EXPECT_EQ(enter("other"), Entered::kPartitionFull);
  EXPECT_EQ(enter("other", false), Entered::kPartitionFull);
  intake_.take(100);
  intake_.leave(counter("a0"), true);
  EXPECT_EQ(enter("other"), Entered::kFirst);
}

TEST_F(IntakeTest, TheLongestWaitingAreTakenFirst) {
  for (const char* actor : {"a", "b", "c", "d", "e"}) enter(actor);
  const auto first = intake_.take(2);
  ASSERT_EQ(first.arrivals.size(), 2U);
  EXPECT_EQ(first.arrivals[0].submission.actor.id, "a");
  EXPECT_EQ(first.arrivals[1].submission.actor.id, "b");
  EXPECT_TRUE(first.more);
  EXPECT_EQ(enter("f"), Entered::kBehindOthers);
  const auto rest = intake_.take(4);
  ASSERT_EQ(rest.arrivals.size(), 4U);
  EXPECT_EQ(rest.arrivals[3].submission.actor.id, "f");
  EXPECT_FALSE(rest.more);
}

using IntakeOfAHost = HostFixture;

// What the partition has not yet got to counts: of a flood for one actor all beyond its places are
// refused at once, while the partition does something else.
TEST_F(IntakeOfAHost, AFloodForOneActorLeavesRoomForOthers) {
  crash();
  limits_.waiting_per_actor = 600;
  limits_.queue_per_partition = 1000;
  start();
  std::string calm = "calm";
  while (partition_of(counter(calm), 8) != partition_of(counter("busy"), 8)) calm += "m";
  std::atomic<int> taken{0}, refused{0}, calm_taken{0}, answered{0};
  int sent = 0;
  const auto send = [&](const std::string& actor, std::atomic<int>& counted, auto&& also) {
    host_->submit(one_more(actor, "n" + std::to_string(++sent), true),
                  [&counted, &refused, &answered, also](const Result<Accepted>& r) {
                    counted += r.has_value();
                    refused += !r && r.error().code == Code::kOverloaded;
                    also();
                    ++answered;
                  });
  };
  std::atomic<bool> busy{false}, released{false};
  send("busy", taken, [&] {  // on the partition's thread
    busy = true;
    busy.notify_all();
    released.wait(false);
  });
  busy.wait(false);
  for (int i = 0; i < 2000; ++i) send("busy", taken, [] {});
  EXPECT_EQ(refused, 2000 - 600);
  send(calm, calm_taken, [] {});
  EXPECT_EQ(refused, 2000 - 600) << "there is room for another actor";
  released = true;
  released.notify_all();
  while (answered < sent) std::this_thread::yield();
  EXPECT_EQ(taken, 1 + 600);
  EXPECT_EQ(calm_taken, 1);
  EXPECT_EQ(state("busy").value(), 601);
  ASSERT_TRUE(add("busy", 1, "later")) << "nothing waits any more";
}

}  // namespace
}  // namespace soma::runtime
