// From the start, or from behind a mark.
#include "runtime/memory/journal_follower.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace soma::runtime
