// From the start, or from behind a mark.
#include "runtime/memory/journal_follower.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <map>
#include <memory>
#include <thread>

#include "events/sim/sim_log.h"
#include "tests/unit/events/frame_builder.h"

namespace soma::runtime {
namespace {

constexpr PartitionId kP{0};

TEST(JournalFollower, BeginsBehindItsMarks) {
  events::SimLog log(events::SimOptions{1});
  auto last = events::test::claim(1, events::test::kZeroHash);
  log.put_foreign(kP, last.bytes);
  for (std::uint64_t n = 1; n < 10; ++n) {
    last = events::test::frame(1, n, last.hash);
    log.put_foreign(kP, last.bytes);
  }
  events::FrameReader reader(log, kP);
  ASSERT_TRUE(reader.next(1)) << "the claim";
  ASSERT_TRUE(reader.next(1));
  const auto taken_from = [&](std::vector<events::Bookmark> marks) {
    std::vector<std::uint64_t> numbers;
    JournalFollower follower(
        log, [&](const events::ValidFrame& f) { numbers.push_back(f.frame->number()); },
        JournalFollower::From::kLog, std::move(marks));
    EXPECT_TRUE(follower.settle(20'000));
    follower.stop();
    return numbers;
  };
  EXPECT_EQ(taken_from({reader.bookmark()}), (std::vector<std::uint64_t>{2, 3, 4, 5, 6, 7, 8, 9}));
  EXPECT_EQ(taken_from({}).size(), 10u);
}

// A follower that takes its first frame, and the tenth, only when it is told to.
class HeldFollower : public ::testing::Test {
 protected:
  HeldFollower() {
    last = events::test::claim(1, events::test::kZeroHash);
    log.put_foreign(kP, last.bytes);
    for (std::uint64_t n = 1; n < 10; ++n) {
      last = events::test::frame(1, n, last.hash);
      log.put_foreign(kP, last.bytes);
    }
    follower = std::make_unique<JournalFollower>(log, [this](const events::ValidFrame& f) {
      ++taken;
      const auto held = gates.find(f.frame->number());
      if (held == gates.end()) return;
      held->second.reached.set_value();
      held->second.open.get_future().wait();
    });
    gates.at(0).reached.get_future().wait();
  }

  struct Gate {
    std::promise<void> reached, open;
  };
  events::SimLog log{events::SimOptions{1}};
  events::test::Stored last;
  std::map<std::uint64_t, Gate> gates = [] {
    std::map<std::uint64_t, Gate> out;
    out[0], out[10];
    return out;
  }();
  std::atomic<int> taken{0};
  std::unique_ptr<JournalFollower> follower;
};

TEST_F(HeldFollower, WhatWaitsIsBoundedByItsBytes) {
  v1::Frame large;
  large.set_number(9);
  large.add_entries()->set_reply(std::string(1 << 20, 'x'));
  const events::ValidFrame frame{{kP, Offset{9}}, std::make_shared<v1::Frame>(large), "hash"};
  for (int i = 0; i < 200; ++i) follower->observed(frame);
  EXPECT_EQ(frame.frame.use_count(), 1 + 63);  // each a little over 1 MiB
  gates.at(0).open.set_value();
  EXPECT_TRUE(follower->settle(20'000));
  EXPECT_EQ(taken, 10);
  EXPECT_EQ(frame.frame.use_count(), 1);
}

TEST_F(HeldFollower, AStopDoesNotWaitForWhatIsQueued) {
  for (std::uint64_t n = 10; n < 60; ++n) {
    last = events::test::frame(1, n, last.hash);
    follower->observed({{kP, Offset{n}}, std::make_shared<v1::Frame>(last.frame), last.hash});
  }
  gates.at(0).open.set_value();
  gates.at(10).reached.get_future().wait();
  std::thread stopper([this] { follower->stop(); });
  EXPECT_FALSE(follower->wait_for({kP, Offset{1000}}, 60'000));  // until it is told to stop
  gates.at(10).open.set_value();
  stopper.join();
  EXPECT_EQ(taken, 11);
}

}  // namespace
}  // namespace soma::runtime
