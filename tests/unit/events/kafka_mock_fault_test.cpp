// Faults on the mock cluster: dead producers, moving leaders, slow brokers, strangers and zombies.
// The fence judges: what was acknowledged is in the log, once, where it was said to be.
#include <gtest/gtest.h>

#include "tests/support/frame_load.h"
#include "tests/support/mock_cluster.h"

namespace soma::events {
namespace {

using support::eventually;
using support::FrameLoad;
using support::judge;

constexpr PartitionId kP{0};

class KafkaFaults : public testing::Test {
 protected:
  static support::MockCluster& cluster() {
    static support::MockCluster shared(3);  // a second to end
    return shared;
  }
  std::unique_ptr<KafkaLog> open() {
    auto log = open_kafka_log(options_);
    EXPECT_TRUE(log) << log.error().message;
    return std::move(*log);
  }
  KafkaOptions options_ = cluster().options(2);
};

bool more(const FrameLoad& load, std::size_t frames) {
  const std::size_t goal = load.count() + frames;
  return eventually([&] { return load.count() >= goal; });
}

TEST_F(KafkaFaults, FiftyFatalProducersLoseAndDoubleNothing) {
  auto log = open();
  FrameLoad load(*log, kP, 1);
  for (std::uint64_t i = 0; i < 50; ++i) {
    ASSERT_TRUE(more(load, 5)) << "after " << i << " fatal errors";
    log->inject_fatal(kP);
    ASSERT_TRUE(eventually([&] { return log->figures().rebuilt > i; }));
  }
  ASSERT_TRUE(more(load, 5));
  load.stop();
  EXPECT_GE(load.claims(), 50u);
  EXPECT_EQ(judge(*log, kP, load.acknowledged()).problem, "");
  EXPECT_TRUE(log->health());
  std::printf("GATE R13 %llu clients rebuilt\n",
              static_cast<unsigned long long>(log->figures().rebuilt));
}

TEST_F(KafkaFaults, LeadersMoveUnderLoad) {
  auto log = open();
  FrameLoad load(*log, kP, 1);
  for (int i = 0; i < 30; ++i) {
    ASSERT_TRUE(more(load, 20)) << "after " << i << " moves";
    cluster().set_leader(options_, kP.value, 1 + i % 3);
  }
  ASSERT_TRUE(more(load, 20));
  load.stop();
  EXPECT_EQ(judge(*log, kP, load.acknowledged()).problem, "");
}

TEST_F(KafkaFaults, BrokersThatAnswerTooLateDoubleNothing) {
  options_.append_timeout_ms = 400;
  auto log = open();
  FrameLoad load(*log, kP, 1);
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(more(load, 20)) << "after " << i << " slow spells";
    const auto unknown = log->figures().unknown;
    for (int b = 1; b <= 3; ++b) cluster().set_rtt(b, 700);
    EXPECT_TRUE(eventually([&] { return log->figures().unknown > unknown; }));
    for (int b = 1; b <= 3; ++b) cluster().set_rtt(b, 0);
  }
  ASSERT_TRUE(more(load, 20));
  load.stop();
  const auto judged = judge(*log, kP, load.acknowledged());
  EXPECT_EQ(judged.problem, "");
  EXPECT_GE(log->figures().rebuilt, 4u);
}

TEST_F(KafkaFaults, AFailedReportIsAnUnknownOutcomeAndRetriedErrorsAreNone) {
  auto log = open();
  FrameLoad load(*log, kP, 1);
  ASSERT_TRUE(more(load, 5));
  cluster().fail_produce(19, 3);  // NOT_ENOUGH_REPLICAS: retried
  ASSERT_TRUE(more(load, 20));
  EXPECT_EQ(log->figures().unknown, 0u);
  cluster().fail_produce(29, 1);  // TOPIC_AUTHORIZATION_FAILED: final
  ASSERT_TRUE(eventually([&] { return log->figures().unknown > 0; }));
  ASSERT_TRUE(more(load, 20));
  load.stop();
  EXPECT_EQ(judge(*log, kP, load.acknowledged()).problem, "");
}

TEST_F(KafkaFaults, OwnersThatTakeFromEachOtherKeepOneHistory) {
  auto one = open(), two = open();
  std::map<std::int64_t, Position> all;
  for (std::uint32_t round = 0; round < 6; ++round) {
    FrameLoad first(*one, kP, 2 * round + 1, 2);
    ASSERT_TRUE(more(first, 10));
    FrameLoad second(*two, kP, 2 * round + 2, 2);  // the first is a zombie now, and claims again
    ASSERT_TRUE(eventually([&] { return second.count() > 10 && first.claims() > 1; }));
    first.stop();
    second.stop();
    all.merge(first.acknowledged());
    all.merge(second.acknowledged());
  }
  const auto judged = judge(*one, kP, all);
  EXPECT_EQ(judged.problem, "");
  EXPECT_GT(judged.voided, 0u);
}

TEST_F(KafkaFaults, AStrangersRecordsBetweenAreNoticed) {
  auto log = open(), stranger = open();
  FrameLoad load(*log, kP, 1);
  v1::Frame stray;  // of an epoch that nobody claimed: void
  stray.set_format(1);
  stray.set_epoch(1'000'000);
  stray.set_number(5);
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(more(load, 3));
    stranger->append(kP, encode_frame(stray), [](const AppendReport&) {});
  }
  load.stop();
  const auto judged = judge(*log, kP, load.acknowledged());
  EXPECT_EQ(judged.problem, "");
  EXPECT_GE(judged.voided, 50u);
  EXPECT_EQ(load.claims(), 1u);  // a stranger without a claim costs nobody the partition
}

TEST_F(KafkaFaults, AnIdleOwnerHearsOfAForeignClaimByItsTail) {
  auto log = open(), other = open();
  std::atomic<int> grown{0};
  log->follow([&](PartitionId p) { grown += p == kP; });
  FrameLoad load(*other, kP, 1);
  ASSERT_TRUE(more(load, 1));
  load.stop();
  EXPECT_TRUE(eventually([&] { return grown > 0 && log->end(kP) == other->end(kP); }));
}

TEST_F(KafkaFaults, BrokersThatAreAllDownGiveErrorsAndComeBack) {
  options_.append_timeout_ms = 500;
  options_.read_timeout_ms = 500;
  auto log = open();
  FrameLoad load(*log, kP, 1);
  ASSERT_TRUE(more(load, 5));
  for (int b = 1; b <= 3; ++b) cluster().set_down(b);
  EXPECT_TRUE(eventually([&] { return !log->health(); }));
  auto read = log->read(kP, Offset{1u << 20}, 1);
  EXPECT_FALSE(read);  // and not "nothing there"
  EXPECT_EQ(read ? Code::kInternal : read.error().code, Code::kUnavailable);
  for (int b = 1; b <= 3; ++b) cluster().set_up(b);
  EXPECT_TRUE(more(load, 20));
  EXPECT_TRUE(eventually([&] { return log->health().has_value(); }));
  load.stop();
  EXPECT_EQ(judge(*log, kP, load.acknowledged()).problem, "");
}

TEST_F(KafkaFaults, SettingsThatWouldBreakTheRuleAreRefused) {
  options_.client["acks"] = "1";
  auto log = open_kafka_log(options_);
  ASSERT_FALSE(log);
  EXPECT_EQ(log.error().code, Code::kInvalidArgument);
  EXPECT_EQ(log.error().field, "kafka.acks");
  options_.client = {{"no.such.property", "1"}};
  EXPECT_EQ(open_kafka_log(options_).error().code, Code::kInvalidArgument);
  options_.client.clear();
  options_.partition_count = 3;  // the topic has 2
  EXPECT_EQ(open_kafka_log(options_).error().code, Code::kConflict);
}

}  // namespace
}  // namespace soma::events
