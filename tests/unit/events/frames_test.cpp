// Decoding, and reading a partition through the fence.
#include "events/frames.h"

#include <gtest/gtest.h>

#include "events/sim/sim_log.h"
#include "tests/unit/events/frame_builder.h"

namespace soma::events {
namespace {

using test::claim;
using test::frame;
using test::kZeroHash;

constexpr PartitionId kP{0};

TEST(DecodeFrame, RefusesWhatIsNoFrame) {
  EXPECT_EQ(decode_frame("\xff\xff\xff").error().code, Code::kCorrupt);
  EXPECT_EQ(decode_frame("").error().code, Code::kCorrupt);
  auto f = frame(1, 1, kZeroHash).frame;
  f.set_format(2);
  EXPECT_EQ(decode_frame(encode_frame(f)).error().code, Code::kCorrupt);
  EXPECT_EQ(decode_frame(frame(0, 1, kZeroHash).bytes).error().code, Code::kCorrupt);
  EXPECT_EQ(decode_frame(frame(1, 0, kZeroHash).bytes).error().code, Code::kCorrupt);
  auto c = claim(1, kZeroHash).frame;
  c.set_number(1);
  EXPECT_EQ(decode_frame(encode_frame(c)).error().code, Code::kCorrupt);
}

TEST(FrameReader, GivesValidFramesAndCountsTheRest) {
  SimLog log;
  const auto c1 = claim(1, kZeroHash), c2 = claim(2, c1.hash, "n2");
  const auto f1 = frame(2, 1, c2.hash);
  for (const auto& s : {c1, c2, frame(1, 1, c1.hash), f1, f1}) log.put_foreign(kP, s.bytes);
  FrameReader reader(log, kP);
  auto frames = reader.next();
  ASSERT_TRUE(frames);
  ASSERT_EQ(frames->size(), 3u);
  EXPECT_EQ((*frames)[2].position, (Position{kP, Offset{3}}));
  EXPECT_EQ((*frames)[2].hash, f1.hash);
  EXPECT_EQ(reader.voided(), 2u);
  EXPECT_EQ(reader.next_offset(), Offset{5});
  EXPECT_TRUE(reader.next()->empty());
}

TEST(FrameReader, ReadsOnPastBatchesOfVoidRecords) {
  SimLog log;
  const auto c1 = claim(1, kZeroHash), c2 = claim(2, kZeroHash);
  log.put_foreign(kP, c2.bytes);
  for (int i = 0; i < 20; ++i) log.put_foreign(kP, c1.bytes);
  const auto f1 = frame(2, 1, c2.hash);
  log.put_foreign(kP, f1.bytes);
  FrameReader reader(log, kP);
  ASSERT_EQ(reader.next(1)->size(), 1u);
  auto frames = reader.next(1);
  ASSERT_TRUE(frames);
  ASSERT_EQ(frames->size(), 1u);
  EXPECT_EQ(frames->front().hash, f1.hash);
}

TEST(FrameReader, NamesThePlaceOfARecordItCannotRead) {
  SimLog log;
  log.put_foreign(kP, claim(1, kZeroHash).bytes);
  log.put_foreign(kP, "no frame \xff");
  FrameReader reader(log, kP);
  auto frames = reader.next();
  ASSERT_FALSE(frames);
  EXPECT_EQ(frames.error().code, Code::kCorrupt);
  EXPECT_NE(frames.error().message.find("partition 0 offset 1"), std::string::npos)
      << frames.error().message;
}

TEST(FrameReader, RefusesAFrameOfAnotherPartition) {
  SimLog log;
  log.put_foreign(PartitionId{1}, claim(1, kZeroHash, "n1", 0).bytes);
  FrameReader reader(log, PartitionId{1});
  EXPECT_EQ(reader.next().error().code, Code::kCorrupt);
}

TEST(ReadFrameAt, FindsOrSaysNotFound) {
  SimLog log;
  const auto c1 = claim(1, kZeroHash);
  log.put_foreign(kP, c1.bytes);
  EXPECT_EQ(read_frame_at(log, {kP, Offset{0}})->hash, c1.hash);
  EXPECT_EQ(read_frame_at(log, {kP, Offset{1}}).error().code, Code::kNotFound);
  EXPECT_EQ(read_frame_at(log, {PartitionId{99}, Offset{0}}).error().code, Code::kInvalidArgument);
}

}  // namespace
}  // namespace soma::events
