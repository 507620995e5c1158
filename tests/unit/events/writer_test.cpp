// The owner's pen against lost reports, gaps, foreign writers and lost claims (I1, I2, I3, I4).
#include <gtest/gtest.h>

#include "events/frames.h"
#include "events/sim/sim_log.h"
#include "tests/unit/events/frame_builder.h"

namespace soma::events {
namespace {

constexpr PartitionId kP{0};

struct Owner {
  explicit Owner(Log& log, const std::string& node = "n1") : reader(log, kP) {
    while (!reader.next()->empty()) {
    }
    v1::Claim claim;
    claim.set_node_id(node);
    auto result = FrameWriter::claim(log, reader, claim, 1, nullptr);
    if (result)
      writer = std::move(*result);
    else
      error = result.error();
  }
  void append(std::int64_t time_ms) {
    v1::Frame frame;
    frame.set_time_ms(time_ms);
    writer->append(std::move(frame),
                   [this](const FrameWriter::Outcome& o) { outcomes.push_back(o); });
  }
  FrameReader reader;
  std::unique_ptr<FrameWriter> writer;
  Error error;
  std::vector<FrameWriter::Outcome> outcomes;
};

std::vector<ValidFrame> all_valid(const Log& log) {
  FrameReader reader(log, kP);
  std::vector<ValidFrame> out;
  for (;;) {
    auto frames = reader.next();
    if (!frames || frames->empty()) return out;
    out.insert(out.end(), frames->begin(), frames->end());
  }
}

// I4: every frame reported valid is valid for every reader, at the reported position.
void expect_truthful(const Log& log, const Owner& owner) {
  const auto valid = all_valid(log);
  for (const auto& o : owner.outcomes) {
    if (!o.valid) continue;
    EXPECT_TRUE(std::any_of(valid.begin(), valid.end(), [&](const ValidFrame& v) {
      return v.position == o.frame.position && v.hash == o.frame.hash;
    })) << to_string(o.frame.position);
  }
}

// The n-th append of the owner (0 = the claim) gets a fault.
void fault_at(SimLog& log, std::uint64_t nth, SimFault fault) {
  log.set_script([=](PartitionId, std::uint64_t n) { return n == nth ? fault : SimFault::kNone; });
}

TEST(Writer, PipelinedFramesBecomeValidInOrder) {
  SimLog log;
  Owner owner(log);
  for (int i = 0; i < 10; ++i) owner.append(i);
  EXPECT_EQ(owner.writer->in_flight(), 10u);
  log.run();
  ASSERT_EQ(owner.outcomes.size(), 10u);
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(owner.outcomes[i].valid);
    EXPECT_EQ(owner.outcomes[i].frame.frame->time_ms(), i);
    EXPECT_EQ(owner.outcomes[i].frame.position.offset, Offset{static_cast<std::uint64_t>(i + 1)});
  }
  EXPECT_EQ(all_valid(log).size(), 11u);
}

struct FaultCase {
  const char* name;
  SimFault fault;
  bool second_is_valid;
};

class WriterFaults : public testing::TestWithParam<FaultCase> {};

// Three frames in flight, the second meets the fault.
TEST_P(WriterFaults, TellsTheTruthAndDiesOnDoubt) {
  SimLog log;
  fault_at(log, 2, GetParam().fault);
  Owner owner(log);
  for (int i = 0; i < 3; ++i) owner.append(i);
  log.run();
  ASSERT_EQ(owner.outcomes.size(), 3u);
  EXPECT_TRUE(owner.outcomes[0].valid);
  EXPECT_EQ(owner.outcomes[1].valid, GetParam().second_is_valid);
  EXPECT_EQ(owner.outcomes[2].valid, GetParam().second_is_valid);
  EXPECT_EQ(owner.writer->dead(), !GetParam().second_is_valid);
  if (!GetParam().second_is_valid) {
    EXPECT_EQ(owner.outcomes[2].error.code, Code::kUnknownOutcome);
  }
  expect_truthful(log, owner);
  // Whatever happened, a new claim goes on.
  Owner next(log, "n2");
  ASSERT_TRUE(next.writer) << next.error.message;
  next.append(9);
  log.run();
  ASSERT_TRUE(next.outcomes.at(0).valid);
  expect_truthful(log, next);
}

INSTANTIATE_TEST_SUITE_P(Faults, WriterFaults,
                         testing::Values(FaultCase{"LostAck", SimFault::kLostAck, false},
                                         FaultCase{"Late", SimFault::kLate, false},
                                         FaultCase{"Lost", SimFault::kLost, false},
                                         FaultCase{"Refused", SimFault::kRefused, false},
                                         FaultCase{"NoOffset", SimFault::kNoOffset, true},
                                         FaultCase{"DelayedAck", SimFault::kDelayedAck, true},
                                         FaultCase{"Duplicate", SimFault::kDuplicate, true},
                                         FaultCase{"Gap", SimFault::kGap, true}),
                         [](const auto& param) { return param.param.name; });

TEST(Writer, AClaimWhoseReportWasLostIsFoundInTheLog) {
  SimLog log;
  fault_at(log, 0, SimFault::kLostAck);
  Owner owner(log);
  ASSERT_TRUE(owner.writer) << owner.error.message;
  owner.append(1);
  log.run();
  EXPECT_TRUE(owner.outcomes.at(0).valid);
}

TEST(Writer, AClaimThatIsNowhereIsUnknown) {
  SimLog log;
  fault_at(log, 0, SimFault::kLate);
  Owner owner(log);
  EXPECT_FALSE(owner.writer);
  EXPECT_EQ(owner.error.code, Code::kUnknownOutcome);
}

TEST(Writer, LosesToAClaimOfTheSameEpochThatStandsFirst) {
  SimLog log;
  FrameReader reader(log, kP);
  ASSERT_TRUE(reader.next()->empty());
  log.put_foreign(kP, test::claim(1, test::kZeroHash, "n2").bytes);
  auto writer = FrameWriter::claim(log, reader, v1::Claim(), 1, nullptr);
  ASSERT_FALSE(writer);
  EXPECT_EQ(writer.error().code, Code::kFenced);
}

// The own claim and a higher one arrive in one batch: to write on would be to write in the other's
// epoch.
TEST(Writer, LosesToAHigherClaimRightBehindItsOwn) {
  SimLog log;
  FrameReader reader(log, kP);
  ASSERT_TRUE(reader.next()->empty());
  bool done = false;
  log.follow([&](PartitionId) {
    if (std::exchange(done, true)) return;
    const auto own = log.read(kP, Offset{0}, 1);
    log.put_foreign(kP, test::claim(2, sha256(own->front().bytes), "n2").bytes);
  });
  auto writer = FrameWriter::claim(log, reader, v1::Claim(), 1, nullptr);
  ASSERT_FALSE(writer);
  EXPECT_EQ(writer.error().code, Code::kFenced);
}

TEST(Writer, HandsOverFramesThatLandedBeforeItsClaim) {
  SimLog log;
  Owner old(log, "old");
  FrameReader reader(log, kP);
  while (!reader.next()->empty()) {
  }
  old.append(7);
  log.run();
  std::vector<std::int64_t> between;
  auto writer = FrameWriter::claim(log, reader, v1::Claim(), 1, [&](const ValidFrame& f) {
    between.push_back(f.frame->time_ms());
  });
  ASSERT_TRUE(writer);
  EXPECT_EQ(between, std::vector<std::int64_t>{7});
  bool valid = false;
  (*writer)->append(v1::Frame(), [&](const FrameWriter::Outcome& o) { valid = o.valid; });
  log.run();
  EXPECT_TRUE(valid);
}

TEST(Writer, AZombieLearnsThatItIsFencedFromItsOwnReport) {
  SimLog log;
  Owner old(log, "old");
  old.append(1);
  log.run();
  Owner fresh(log, "fresh");
  old.append(2);
  old.append(3);
  log.run();
  ASSERT_EQ(old.outcomes.size(), 3u);
  EXPECT_TRUE(old.outcomes[0].valid);
  EXPECT_EQ(old.outcomes[1].error.code, Code::kFenced);
  EXPECT_EQ(old.outcomes[2].error.code, Code::kUnknownOutcome);
  fresh.append(4);
  log.run();
  EXPECT_TRUE(fresh.outcomes.at(0).valid);
  expect_truthful(log, old);
  expect_truthful(log, fresh);
}

TEST(Writer, AForeignRecordThatIsVoidOnlyCostsAReading) {
  SimLog log;
  Owner owner(log);
  owner.append(1);
  log.run();
  log.put_foreign(kP, test::claim(1, test::kZeroHash, "late").bytes);
  owner.append(2);
  owner.append(3);
  log.run();
  ASSERT_EQ(owner.outcomes.size(), 3u);
  EXPECT_TRUE(owner.outcomes[1].valid);
  EXPECT_EQ(owner.outcomes[1].frame.position.offset, Offset{3});
  EXPECT_TRUE(owner.outcomes[2].valid);
}

TEST(Writer, ALateRecordOfADeadWriterIsVoidAfterTheNextClaim) {
  SimLog log;
  fault_at(log, 1, SimFault::kLate);
  Owner old(log);
  old.append(1);
  log.run();
  ASSERT_TRUE(old.writer->dead());
  Owner fresh(log, "n2");
  ASSERT_TRUE(log.land_late());
  fresh.append(2);
  log.run();
  EXPECT_TRUE(fresh.outcomes.at(0).valid);
  const auto valid = all_valid(log);
  ASSERT_EQ(valid.size(), 3u);
  EXPECT_EQ(valid.back().frame->time_ms(), 2);
}

TEST(Writer, ADeadWriterAppendsNothingAndKeepsTheOrderOfOutcomes) {
  SimLog log;
  log.set_script(
      [](PartitionId, std::uint64_t n) { return n == 1 ? SimFault::kLost : SimFault::kNone; });
  Owner owner(log);
  owner.append(1);
  owner.append(2);
  ASSERT_TRUE(log.step());  // the first fails; the second is still in flight
  ASSERT_TRUE(owner.writer->dead());
  owner.append(3);
  owner.append(4);
  EXPECT_EQ(owner.outcomes.size(), 1u);
  EXPECT_EQ(log.pending(), 1u);
  log.run();
  EXPECT_EQ(owner.outcomes.size(), 4u);
  EXPECT_EQ(owner.writer->in_flight(), 0u);
  owner.append(5);
  EXPECT_EQ(owner.outcomes.size(), 5u);
}

TEST(Writer, TooLargeIsToldAtOnceAndKillsNothing) {
  SimLog log;
  Owner owner(log);
  v1::Frame big;
  big.add_entries()->set_command(std::string(kMaxRecordBytes + 1, 'x'));
  Code code = Code::kInternal;
  owner.writer->append(std::move(big), [&](const FrameWriter::Outcome& o) { code = o.error.code; });
  EXPECT_EQ(code, Code::kTooLarge);
  EXPECT_EQ(log.pending(), 0u);
  owner.append(1);
  log.run();
  EXPECT_TRUE(owner.outcomes.at(0).valid);
}

TEST(Writer, OutcomeHandlersMayAppend) {
  SimLog log;
  Owner owner(log);
  int left = 5;
  std::function<void(const FrameWriter::Outcome&)> more = [&](const FrameWriter::Outcome& o) {
    EXPECT_TRUE(o.valid);
    if (--left > 0) owner.writer->append(v1::Frame(), more);
  };
  owner.writer->append(v1::Frame(), more);
  log.run();
  EXPECT_EQ(left, 0);
}

TEST(Writer, MayBeDroppedWithFramesInFlight) {
  SimLog log;
  Owner owner(log);
  owner.append(1);
  owner.writer.reset();
  log.run();
  ASSERT_EQ(owner.outcomes.size(), 1u);
  EXPECT_TRUE(owner.outcomes[0].valid);
}

// An engine that reads apart: proofs wait in `apart` until the test runs them.
class ApartLog final : public Log {
 public:
  std::uint32_t partition_count() const override { return sim.partition_count(); }
  void append(PartitionId p, std::string r, OnReport on) override {
    sim.append(p, std::move(r), std::move(on));
  }
  Result<std::vector<Record>> read(PartitionId p, Offset o, std::size_t m) const override {
    return sim.read(p, o, m);
  }
  Offset end(PartitionId p) const override { return sim.end(p); }
  std::uint64_t follow(std::function<void(PartitionId)> f) override {
    return sim.follow(std::move(f));
  }
  void unfollow(std::uint64_t s) override { sim.unfollow(s); }
  bool pump() override { return sim.pump(); }
  Status health() const override { return sim.health(); }
  void run_apart(std::function<void()> work) override { apart.push_back(std::move(work)); }
  SimLog sim;
  std::vector<std::function<void()>> apart;
};

TEST(Writer, ASlowProofHoldsUpTheReportsBehindIt) {
  ApartLog log;
  fault_at(log.sim, 1, SimFault::kNoOffset);
  Owner owner(log);
  for (int i = 0; i < 3; ++i) owner.append(i);
  log.sim.run();
  EXPECT_TRUE(owner.outcomes.empty());
  ASSERT_EQ(log.apart.size(), 1u);
  log.apart.front()();
  ASSERT_EQ(owner.outcomes.size(), 3u);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(owner.outcomes[i].valid);
    EXPECT_EQ(owner.outcomes[i].frame.frame->time_ms(), i);
  }
}

}  // namespace
}  // namespace soma::events
