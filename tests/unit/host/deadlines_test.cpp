// Deadlines: rung once when due, and nothing is left of those called off.
#include "runtime/host/deadlines.h"

#include <gtest/gtest.h>

#include <memory>

#include "tests/support/hand_clock.h"

namespace soma::runtime {
namespace {

TEST(Deadlines, RingOnceAndNotEarly) {
  HandClock clock;
  Deadlines deadlines(clock);
  int rung = 0;
  const auto token = deadlines.set(2000, [&] {
    EXPECT_GE(clock.now, 2000);
    ++rung;
  });
  clock.pass(999);
  EXPECT_EQ(rung, 0);
  clock.pass(Deadlines::kGrainMs + 2);
  EXPECT_EQ(rung, 1);
  clock.pass(5000);
  EXPECT_EQ(rung, 1);
}

TEST(Deadlines, CalledOffLeavesNothing) {
  HandClock clock;
  Deadlines deadlines(clock);
  const auto held = std::make_shared<int>(0);
  for (int i = 0; i < 1000; ++i) {
    const auto token = deadlines.set(100'000, [held] { ++*held; });
    EXPECT_EQ(held.use_count(), 2);
  }
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_EQ(clock.alarms.size(), 1u);  // one watch, whatever their number
  clock.pass(Deadlines::kGrainMs + 2);
  EXPECT_TRUE(clock.alarms.empty());  // nothing to watch for
  clock.pass(200'000);
  EXPECT_EQ(*held, 0);
}

TEST(Deadlines, OneMayCallOffAnotherAndItself) {
  HandClock clock;
  Deadlines deadlines(clock);
  Deadlines::Token first, second;
  int rung = 0;
  first = deadlines.set(1500, [&] {
    ++rung;
    first.reset();
    second.reset();
  });
  second = deadlines.set(1900, [&] { ++rung; });
  clock.pass(2000);
  EXPECT_EQ(rung, 1);
}

TEST(Deadlines, GoneBeforeItsAlarms) {
  HandClock clock;
  Deadlines::Token token;
  int rung = 0;
  {
    Deadlines deadlines(clock);
    token = deadlines.set(1100, [&] { ++rung; });
  }
  token.reset();
  clock.pass(1000);
  EXPECT_EQ(rung, 0);
}

}  // namespace
}  // namespace soma::runtime
