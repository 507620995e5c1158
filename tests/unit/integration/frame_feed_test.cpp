// The publisher's feed: what follows a mark, within its bytes; for all else the log must be read.
#include "runtime/integration/frame_feed.h"

#include <gtest/gtest.h>

#include "tests/unit/projections/journal.h"

namespace soma::runtime::integration {
namespace {

using projections::test::Journal;
using projections::test::TempFolder;

constexpr std::size_t kMiB = 1 << 20, kBig = kMiB / 2;
constexpr PartitionId kFirst{0}, kSecond{1};

struct FrameFeedTest : ::testing::Test {
  FrameFeedTest() : journal((temp.path() / "log").string(), 2) {}

  // One frame of partition 0 with about so many bytes.
  events::ValidFrame frame(std::size_t bytes = 100) {
    v1::Frame f;
    journal.event(f, "acme", "memory", "m", "memory.remembered", std::string(bytes, 'x'));
    return *events::read_frame_at(journal.log(), journal.append(0, std::move(f)));
  }
  // Behind all that the log has.
  events::Bookmark mark() {
    events::FrameReader reader(journal.log(), kFirst);
    for (;;) {
      auto frames = reader.next();
      if (!frames || frames->empty()) return reader.bookmark();
    }
  }

  TempFolder temp;
  Journal journal;
  FrameFeed feed;
};

TEST_F(FrameFeedTest, GivesWhatFollowsOnceAndUpToTheBytesAskedFor) {
  feed.keep({kFirst});
  auto at = mark();
  std::vector<events::ValidFrame> all;
  for (int i = 0; i < 4; ++i) feed.put(all.emplace_back(frame(1000)));
  auto taken = feed.take(kFirst, at, 1500);
  ASSERT_EQ(taken.frames.size(), 2u) << "the first that passes the bytes is the last";
  EXPECT_EQ(taken.frames[1].position, all[1].position);
  EXPECT_FALSE(taken.must_read);
  EXPECT_EQ(feed.take(kFirst, at, 1).frames.size(), 1u);
  EXPECT_EQ(feed.take(kFirst, at, 1500).frames.size(), 1u);
  taken = feed.take(kFirst, at, 1500);
  EXPECT_TRUE(taken.frames.empty());
  EXPECT_FALSE(taken.must_read) << "the next may yet come";
  EXPECT_EQ(at.next, mark().next);
  EXPECT_EQ(at.last_hash, mark().last_hash);
  EXPECT_EQ(feed.bytes(), 0u);
}

TEST_F(FrameFeedTest, ThePartitionsOldestGoBeyondItsBytes) {
  feed.keep({kFirst});
  auto at = mark();
  auto big = frame(kBig);
  for (int i = 0; i < 9; ++i) {
    feed.put(big);
    EXPECT_LE(feed.bytes(), FrameFeed::kPartitionBytes);
    big.position.offset = big.position.offset.next();
  }
  EXPECT_GT(feed.bytes(), FrameFeed::kPartitionBytes - 2 * kBig);
  const auto taken = feed.take(kFirst, at, kMiB);
  EXPECT_TRUE(taken.frames.empty());
  EXPECT_TRUE(taken.must_read) << "the next one is gone";
}

TEST_F(FrameFeedTest, AllOfThemTogetherAreBounded) {
  std::vector<PartitionId> partitions;
  for (std::uint32_t i = 0; i < 8; ++i) partitions.push_back(PartitionId{i});
  feed.keep(partitions);
  auto big = frame(kBig);
  for (int i = 0; i < 8; ++i) {
    for (const auto partition : partitions) {
      big.position.partition = partition;
      feed.put(big);
      EXPECT_LE(feed.bytes(), FrameFeed::kAllBytes);
    }
    big.position.offset = big.position.offset.next();
  }
  EXPECT_GT(feed.bytes(), FrameFeed::kAllBytes - 2 * kBig);
}

TEST_F(FrameFeedTest, APartitionThatLeavesAndComesBackHasAGap) {
  feed.put(frame());
  EXPECT_EQ(feed.bytes(), 0u) << "nobody publishes it";
  feed.keep({kFirst, kSecond});
  auto before = mark();
  feed.put(frame());
  feed.keep({kSecond});
  EXPECT_EQ(feed.bytes(), 0u);
  feed.put(frame());  // of another's time
  EXPECT_EQ(feed.bytes(), 0u);
  feed.keep({kFirst, kSecond});
  auto behind = mark();
  const auto last = frame();
  feed.put(last);
  auto taken = feed.take(kFirst, before, kMiB);
  EXPECT_TRUE(taken.frames.empty() && taken.must_read);
  taken = feed.take(kFirst, behind, kMiB);
  ASSERT_EQ(taken.frames.size(), 1u);
  EXPECT_EQ(taken.frames[0].position, last.position);
}

TEST_F(FrameFeedTest, AClaimMustBeRead) {
  feed.keep({kFirst});
  auto at = mark();
  feed.put(frame());
  const Position claim{kFirst, journal.log().end(kFirst)};
  journal.claim(0);
  feed.put(*events::read_frame_at(journal.log(), claim));
  feed.put(frame());
  EXPECT_EQ(feed.take(kFirst, at, kMiB).frames.size(), 1u);
  const auto taken = feed.take(kFirst, at, kMiB);
  EXPECT_TRUE(taken.frames.empty());
  EXPECT_TRUE(taken.must_read);
}

}  // namespace
}  // namespace soma::runtime::integration
