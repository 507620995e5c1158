// A journal moved to another engine is the same journal, or the move fails and says why.
#include "events/copy.h"

#include <gtest/gtest.h>

#include "events/sim/sim_log.h"
#include "tests/unit/events/frame_builder.h"
#include "tests/unit/events/log_fixture.h"

namespace soma::events {
namespace {

using test::append_wait;
using test::open_small;
using test::TempFolder;

constexpr std::uint32_t kPartitions = 3;

test::Stored frame_of(PartitionId partition, std::uint64_t epoch, std::uint64_t number,
                      const std::string& previous, std::int64_t time_ms) {
  auto frame = test::frame(epoch, number, previous, time_ms).frame;
  frame.set_partition(partition.value);
  return test::stored(std::move(frame));
}

void store(SimLog& log, PartitionId partition, const test::Stored& record) {
  log.append(partition, record.bytes, [](const AppendReport&) {});
  log.run();
}

// Two owners of each partition, and a frame of the first that came too late.
struct Source {
  SimLog log{SimOptions{kPartitions}};
  std::vector<std::string> heads;
  Source() {
    for (std::uint32_t p = 0; p < kPartitions; ++p) {
      const PartitionId partition{p};
      const auto first = test::claim(1, test::kZeroHash, "n1", p);
      const auto one = frame_of(partition, 1, 1, first.hash, 10 + p);
      const auto second = test::claim(2, one.hash, "n2", p);
      store(log, partition, first);
      store(log, partition, one);
      store(log, partition, second);
      store(log, partition, frame_of(partition, 1, 2, one.hash, 99));  // void
      const auto last = frame_of(partition, 2, 1, second.hash, 20 + p);
      store(log, partition, last);
      heads.push_back(last.hash);
    }
  }
};

SimLog empty() { return SimLog{SimOptions{kPartitions}}; }

void expect_same(const Log& a, const Log& b) {
  for (std::uint32_t p = 0; p < kPartitions; ++p)
    EXPECT_EQ(test::read_all(a, PartitionId{p}), test::read_all(b, PartitionId{p}));
}

TEST(Copy, MovesEveryRecordAndProvesTheHeads) {
  Source source;
  SimLog target = empty();
  const auto copied = copy_journal(source.log, target);
  ASSERT_TRUE(copied) << copied.error().message;
  expect_same(source.log, target);
  for (const auto& p : *copied) {
    EXPECT_EQ(p.records, 5u);
    EXPECT_EQ(p.copied, 5u);
    EXPECT_EQ(p.frames, 4u);
    EXPECT_EQ(p.epoch, Epoch{2});
    EXPECT_EQ(p.head, source.heads[p.partition.value]);
  }
}

TEST(Copy, ToTheEmbeddedEngineAndBack) {
  Source source;
  TempFolder folder;
  auto embedded = open_small(folder.log());
  ASSERT_TRUE(copy_journal(source.log, *embedded));
  SimLog back = empty();
  const auto returned = copy_journal(*embedded, back);
  ASSERT_TRUE(returned) << returned.error().message;
  expect_same(source.log, back);
}

TEST(Copy, GoesOnWhereAnotherStopped) {
  Source source;
  SimLog target = empty();
  const auto records = test::read_all(source.log, PartitionId{0});
  for (std::size_t i = 0; i < 2; ++i)
    target.append(PartitionId{0}, records[i], [](const AppendReport&) {});
  target.run();
  const auto finished = copy_journal(source.log, target);
  ASSERT_TRUE(finished) << finished.error().message;
  EXPECT_EQ((*finished)[0].copied, 3u);
  expect_same(source.log, target);
}

TEST(Copy, FailsWithTheFirstRecordThatIsNotStored) {
  Source source;
  SimLog target = empty();
  target.set_script([](PartitionId p, std::uint64_t nth) {
    return p.value == 2 && nth == 4 ? SimFault::kLostAck : SimFault::kNone;
  });
  const auto stopped = copy_journal(source.log, target);
  ASSERT_FALSE(stopped);
  EXPECT_NE(stopped.error().message.find("run the same command again"), std::string::npos)
      << stopped.error().message;
  const auto again = copy_journal(source.log, target);  // it was stored: nothing is left to do
  ASSERT_TRUE(again) << again.error().message;
  expect_same(source.log, target);
}

TEST(Copy, NeverMixesTwoJournals) {
  Source source;
  SimLog other = empty();
  store(other, PartitionId{0}, test::claim(7, test::kZeroHash, "elsewhere"));
  const auto refused = copy_journal(source.log, other);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kConflict);
  EXPECT_NE(refused.error().message.find("0/0"), std::string::npos) << refused.error().message;

  SimLog longer = empty();
  ASSERT_TRUE(copy_journal(source.log, longer));
  store(longer, PartitionId{2}, test::claim(3, source.heads[2], "n3", 2));
  EXPECT_EQ(copy_journal(source.log, longer).error().code, Code::kConflict);

  SimLog wider{SimOptions{kPartitions + 1}};
  EXPECT_EQ(copy_journal(source.log, wider).error().code, Code::kConflict);
}

TEST(Copy, KeepsOffsetsOrFails) {
  Source source;
  SimLog target = empty();
  target.set_script([](PartitionId, std::uint64_t nth) {
    return nth == 1 ? SimFault::kDuplicate : SimFault::kNone;
  });
  const auto moved = copy_journal(source.log, target);
  ASSERT_FALSE(moved);
  EXPECT_EQ(moved.error().code, Code::kConflict);
}

}  // namespace
}  // namespace soma::events
