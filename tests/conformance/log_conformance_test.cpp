// What every log engine must do: order, durability, reading while appending, foreign writers,
// fencing.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <mutex>

#include "events/frames.h"
#include "tests/conformance/engine.h"

namespace soma::events::conformance {
namespace {

using Kind = AppendReport::Kind;
constexpr PartitionId kP{0}, kQ{1};

class LogConformance : public testing::Test {
 protected:
  Log& log() { return engine_->log(); }

  AppendReport append(PartitionId partition, std::string record) {
    std::mutex mutex;
    std::optional<AppendReport> got;
    log().append(partition, std::move(record), [&](const AppendReport& r) {
      std::lock_guard lock(mutex);
      got = r;
    });
    engine_->until([&] {
      std::lock_guard lock(mutex);
      return got.has_value();
    });
    return *got;
  }

  std::vector<Record> read_all(PartitionId partition, std::size_t max_bytes = 1 << 20) {
    std::vector<Record> out;
    for (Offset from{};;) {
      auto records = log().read(partition, from, max_bytes);
      EXPECT_TRUE(records);
      if (!records || records->empty()) return out;
      from = records->back().offset.next();
      out.insert(out.end(), records->begin(), records->end());
    }
  }

  std::unique_ptr<Engine> engine_ = make_engine(4);
};

TEST_F(LogConformance, ANewLogIsEmptyAndHealthy) {
  EXPECT_EQ(log().partition_count(), 4u);
  EXPECT_TRUE(log().health());
  for (std::uint32_t p = 0; p < 4; ++p) {
    EXPECT_TRUE(read_all(PartitionId{p}).empty());
    EXPECT_EQ(log().end(PartitionId{p}), Offset{});
  }
}

TEST_F(LogConformance, StoresBytesAsTheyAre) {
  std::string all(256, '\0');
  for (int i = 0; i < 256; ++i) all[static_cast<std::size_t>(i)] = static_cast<char>(i);
  const std::vector<std::string> records = {"", "a", all, std::string(900 * 1024, '\xff')};
  for (const auto& r : records) EXPECT_EQ(append(kP, r).kind, Kind::kDurable);
  const auto got = read_all(kP);
  ASSERT_EQ(got.size(), records.size());
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i].bytes, records[i]);
}

TEST_F(LogConformance, ReportsOfAPartitionComeInOrderWithRisingOffsets) {
  std::mutex mutex;
  std::vector<int> order;
  std::vector<Offset> offsets;
  for (int i = 0; i < 500; ++i)
    log().append(kP, std::to_string(i), [&, i](const AppendReport& r) {
      std::lock_guard lock(mutex);
      order.push_back(i);
      if (r.kind == Kind::kDurable && r.offset) offsets.push_back(*r.offset);
    });
  engine_->until([&] {
    std::lock_guard lock(mutex);
    return order.size() == 500;
  });
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  ASSERT_EQ(offsets.size(), 500u);
  EXPECT_TRUE(std::adjacent_find(offsets.begin(), offsets.end(), std::greater_equal<>()) ==
              offsets.end());
  const auto got = read_all(kP);
  ASSERT_EQ(got.size(), 500u);
  for (std::size_t i = 0; i < 500; ++i) {
    EXPECT_EQ(got[i].bytes, std::to_string(i));
    EXPECT_EQ(got[i].offset, offsets[i]);
  }
}

TEST_F(LogConformance, WhatIsReportedDurableCanBeReadInTheReport) {
  std::atomic<int> left{50}, readable{0};
  for (int i = 0; i < 50; ++i)
    log().append(kP, std::to_string(i), [&, i](const AppendReport& r) {
      auto records = log().read(kP, *r.offset, 1);
      if (records && !records->empty() && records->front().bytes == std::to_string(i) &&
          log().end(kP) > *r.offset)
        ++readable;
      --left;
    });
  engine_->until([&] { return left == 0; });
  EXPECT_EQ(readable, 50);
}

TEST_F(LogConformance, PartitionsDoNotMix) {
  append(kP, "p");
  append(kQ, "q");
  append(kP, "p2");
  ASSERT_EQ(read_all(kP).size(), 2u);
  ASSERT_EQ(read_all(kQ).size(), 1u);
  EXPECT_EQ(read_all(kQ)[0].bytes, "q");
}

TEST_F(LogConformance, ReadsFromAnyOffsetWithinItsBound) {
  std::vector<Offset> offsets;
  for (int i = 0; i < 20; ++i)
    offsets.push_back(*append(kP, std::string(100, static_cast<char>('a' + i))).offset);
  for (std::size_t from = 0; from < 20; ++from) {
    auto records = log().read(kP, offsets[from], 350);
    ASSERT_TRUE(records);
    ASSERT_FALSE(records->empty());
    EXPECT_EQ(records->front().offset, offsets[from]);
    EXPECT_LE(records->size(), 3u);
  }
  EXPECT_EQ(log().read(kP, offsets[3], 0)->size(), 1u);  // always at least one
  EXPECT_TRUE(log().read(kP, log().end(kP), 1000)->empty());
  EXPECT_TRUE(log().read(kP, Offset{1u << 30}, 1000)->empty());
  EXPECT_EQ(read_all(kP, 1).size(), 20u);
}

TEST_F(LogConformance, AnUnknownPartitionIsAnErrorNotACrash) {
  const PartitionId none{4};
  EXPECT_FALSE(log().read(none, Offset{}, 1));
  EXPECT_EQ(append(none, "x").kind, Kind::kRefused);
  EXPECT_EQ(log().end(none), Offset{});
}

TEST_F(LogConformance, AcknowledgedRecordsOutliveTheProcess) {
  std::vector<Offset> offsets;
  for (int i = 0; i < 30; ++i) offsets.push_back(*append(kP, std::to_string(i)).offset);
  for (int life = 0; life < 3; ++life) {
    engine_->reopen();
    const auto got = read_all(kP);
    ASSERT_EQ(got.size(), offsets.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].offset, offsets[i]);
      EXPECT_EQ(got[i].bytes, std::to_string(i));
    }
    offsets.push_back(*append(kP, std::to_string(offsets.size())).offset);
  }
}

TEST_F(LogConformance, FollowersHearOfGrowthUntilTheyUnfollow) {
  std::atomic<int> p{0}, q{0};
  const auto id = log().follow([&](PartitionId partition) { partition == kP ? ++p : ++q; });
  append(kP, "1");
  engine_->until([&] { return p > 0 || log().end(kP) == Offset{}; });
  append(kQ, "2");  // its report comes after the growth of kP was told
  EXPECT_GT(p, 0);
  log().unfollow(id);
  const int before = p + q;
  append(kP, "3");
  append(kP, "4");
  EXPECT_EQ(p + q, before);
}

TEST_F(LogConformance, ReportHandlersMayAppend) {
  std::atomic<int> left{20};
  std::function<void(const AppendReport&)> more = [&](const AppendReport& r) {
    EXPECT_EQ(r.kind, Kind::kDurable);
    if (left > 1) log().append(kP, "n", more);
    --left;
  };
  log().append(kP, "first", more);
  engine_->until([&] { return left == 0; });
  EXPECT_EQ(read_all(kP).size(), 20u);
}

// A batch may hold any part of what there is.
std::vector<ValidFrame> read_frames(FrameReader& reader) {
  std::vector<ValidFrame> out;
  for (;;) {
    auto frames = reader.next();
    EXPECT_TRUE(frames);
    if (!frames || frames->empty()) return out;
    out.insert(out.end(), frames->begin(), frames->end());
  }
}

struct Owner {
  explicit Owner(Log& log, const std::string& node) : reader(log, kP) {
    read_frames(reader);
    v1::Claim claim;
    claim.set_node_id(node);
    auto claimed = FrameWriter::claim(log, reader, claim, 1, nullptr);
    if (claimed) writer = std::move(*claimed);
  }
  void append(std::int64_t time_ms) {
    v1::Frame frame;
    frame.set_time_ms(time_ms);
    writer->append(std::move(frame), [this](const FrameWriter::Outcome& o) {
      (o.valid ? valid : failed)++;
      if (o.error.code == Code::kFenced) fenced = true;
    });
  }
  FrameReader reader;
  std::unique_ptr<FrameWriter> writer;
  std::atomic<int> valid{0}, failed{0};
  std::atomic<bool> fenced{false};
};

TEST_F(LogConformance, AnOwnersFramesAreValidInOrder) {
  Owner owner(log(), "n1");
  ASSERT_TRUE(owner.writer);
  for (int i = 0; i < 200; ++i) owner.append(i);
  engine_->until([&] { return owner.valid + owner.failed == 200; });
  EXPECT_EQ(owner.valid, 200);
  FrameReader reader(log(), kP);
  const auto frames = read_frames(reader);
  ASSERT_EQ(frames.size(), 201u);
  for (int i = 0; i < 200; ++i)
    EXPECT_EQ(frames[static_cast<std::size_t>(i + 1)].frame->time_ms(), i);
}

TEST_F(LogConformance, ASecondClaimFencesTheFirstOwner) {
  Owner first(log(), "n1");
  first.append(1);
  engine_->until([&] { return first.valid == 1; });
  Owner second(log(), "n2");
  ASSERT_TRUE(second.writer);
  EXPECT_GT(second.writer->epoch(), first.writer->epoch());
  first.append(2);
  first.append(3);
  second.append(4);
  engine_->until([&] { return first.failed == 2 && second.valid + second.failed == 1; });
  EXPECT_TRUE(first.fenced);
  EXPECT_EQ(first.valid, 1);
  EXPECT_EQ(second.valid, 1);
  FrameReader reader(log(), kP);
  std::vector<std::int64_t> times;
  for (const auto& f : read_frames(reader))
    if (!f.frame->has_claim()) times.push_back(f.frame->time_ms());
  EXPECT_EQ(times, (std::vector<std::int64_t>{1, 4}));
  EXPECT_GE(reader.voided(), 1u);  // the other was not appended if the writer already knew
  EXPECT_LE(reader.voided(), 2u);
}

TEST_F(LogConformance, AForeignRecordBetweenIsNoticedAndJudged) {
  Owner owner(log(), "n1");
  v1::Frame stray;  // of an epoch that nobody claimed: void
  stray.set_format(1);
  stray.set_epoch(77);
  stray.set_number(5);
  for (int i = 0; i < 10; ++i) {
    owner.append(i);
    log().append(kP, encode_frame(stray), [](const AppendReport&) {});
  }
  owner.append(10);
  engine_->until([&] { return owner.valid + owner.failed == 11; });
  EXPECT_EQ(owner.valid, 11);
}

TEST_F(LogConformance, ANewProcessClaimsAndGoesOnWithTheChain) {
  std::string head;
  for (std::uint64_t life = 1; life <= 3; ++life) {
    {
      Owner owner(log(), "n" + std::to_string(life));
      ASSERT_TRUE(owner.writer);
      EXPECT_EQ(owner.writer->epoch(), Epoch{life});
      owner.append(static_cast<std::int64_t>(life));
      engine_->until([&] { return owner.valid == 1; });
    }
    engine_->reopen();
    FrameReader reader(log(), kP);
    EXPECT_EQ(read_frames(reader).size(), 2 * life);
    EXPECT_NE(reader.fence().head(), head);
    head = reader.fence().head();
  }
}

}  // namespace
}  // namespace soma::events::conformance
