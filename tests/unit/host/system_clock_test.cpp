// The clock of a real node: alarms by what the wall clock says, and by what has passed.
#include "runtime/host/system_clock.h"

#include <gtest/gtest.h>

#include <future>

namespace soma::runtime {

TEST(SystemClock, RingsByEitherClockAndNotEarly) {
  const auto clock = make_system_clock();
  const std::int64_t wall = clock->now_ms(), steady = clock->steady_ms();
  std::promise<std::int64_t> at, in;
  clock->call_at(wall + 30, [&] { at.set_value(clock->now_ms()); });
  clock->call_in(20, [&] { in.set_value(clock->steady_ms()); });
  EXPECT_GE(in.get_future().get(), steady + 20);
  EXPECT_GE(at.get_future().get(), wall + 30);
}

TEST(SystemClock, WhatIsDueSoonerRingsFirst) {
  const auto clock = make_system_clock();
  std::string order;
  std::promise<void> last;
  clock->call_in(40, [&] {
    order += "c";
    last.set_value();
  });
  clock->call_at(clock->now_ms() + 20, [&] { order += "b"; });
  clock->call_in(1, [&] { order += "a"; });
  last.get_future().get();
  EXPECT_EQ(order, "abc");
}

}  // namespace soma::runtime
