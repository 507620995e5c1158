// Decoding, and reading a partition through the fence.
#include "events/frames.h"

#include <gtest/gtest.h>

#include "events/entry_reader.h"
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

v1::Entry entry_of(const std::string& id, std::uint64_t sequence) {
  v1::Entry e;
  e.mutable_actor()->set_tenant("t");
  e.mutable_actor()->set_type("counter");
  e.mutable_actor()->set_id(id);
  e.mutable_context()->set_command_id("c" + std::to_string(sequence));
  e.add_events()->set_sequence(sequence);
  return e;
}

void put(v1::Frame& frame, v1::Entry entry) {
  *frame.add_touched()->mutable_actor() = entry.actor();
  *frame.add_entries() = std::move(entry);
}

TEST(EntryReader, AreThoseOfOneActorInOrder) {
  SimLog log;
  const auto c = claim(1, kZeroHash);
  auto f = frame(1, 1, c.hash).frame;
  for (const auto& [id, sequence] : {std::pair{"a", 1}, {"ab", 1}, {"a", 2}, {"b", 7}, {"a", 3}})
    put(f, entry_of(id, static_cast<std::uint64_t>(sequence)));
  log.put_foreign(kP, c.bytes);
  log.put_foreign(kP, encode_frame(f));
  const Position at{kP, Offset{1}};
  const EntryReader reader(log);
  auto entries = reader.read(at, {"t", "counter", "a", ""});
  ASSERT_TRUE(entries) << entries.error().message;
  ASSERT_EQ(entries->size(), 3u);
  for (std::size_t i = 0; i < 3; ++i)
    EXPECT_EQ((*entries)[i].SerializeAsString(), entry_of("a", i + 1).SerializeAsString());
  EXPECT_TRUE(reader.read(at, {"u", "counter", "a", ""})->empty());
  EXPECT_TRUE(reader.read(at, {"t", "session", "a", ""})->empty());
  EXPECT_EQ(reader.read({kP, Offset{2}}, {"t", "counter", "a", ""}).error().code, Code::kNotFound);
}

TEST(EntryReader, RefusesARecordThatIsNoFrame) {
  SimLog log;
  auto f = frame(1, 1, kZeroHash).frame;
  put(f, entry_of("a", 1));
  const std::string bytes = encode_frame(f);
  log.put_foreign(kP, bytes.substr(0, bytes.size() - 1));
  f.clear_touched();
  log.put_foreign(kP, encode_frame(f));
  const EntryReader reader(log);
  for (std::uint64_t offset : {0u, 1u}) {
    const Position at{kP, Offset{offset}};
    auto entries = reader.read(at, {"t", "counter", "a", ""});
    ASSERT_FALSE(entries) << offset;
    EXPECT_EQ(entries.error().code, Code::kCorrupt);
    EXPECT_NE(entries.error().message.find(to_string(at)), std::string::npos)
        << entries.error().message;
  }
}

// As a log whose tail was cut off and written anew.
TEST(EntryReader, LooksAgainWhereAnotherRecordStandsThanBefore) {
  SimLog before, after;
  auto f = frame(1, 1, kZeroHash).frame;
  put(f, entry_of("a", 1));
  before.put_foreign(kP, encode_frame(f));
  auto g = frame(1, 1, kZeroHash).frame;
  for (const auto* id : {"longer than a", "b", "a"}) put(g, entry_of(id, 1));
  class Switched final : public Log {
   public:
    const Log* now = nullptr;
    std::uint32_t partition_count() const override { return now->partition_count(); }
    void append(PartitionId, std::string, OnReport) override {}
    Result<std::vector<Record>> read(PartitionId p, Offset from, std::size_t most) const override {
      return now->read(p, from, most);
    }
    Offset end(PartitionId p) const override { return now->end(p); }
    std::uint64_t follow(std::function<void(PartitionId)>) override { return 0; }
    void unfollow(std::uint64_t) override {}
    Status health() const override { return {}; }
  } log;
  log.now = &before;
  const EntryReader reader(log);
  const Position at{kP, Offset{0}};
  ASSERT_EQ(reader.read(at, {"t", "counter", "a", ""})->size(), 1u);
  after.put_foreign(kP, encode_frame(g));
  log.now = &after;
  EXPECT_EQ(reader.read(at, {"t", "counter", "b", ""})->size(), 1u);
  EXPECT_EQ(reader.read(at, {"t", "counter", "a", ""})->size(), 1u);
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
