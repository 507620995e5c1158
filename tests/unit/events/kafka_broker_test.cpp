// The log on real brokers: kill -9 under load, leaders that die, topics as they are made and
// mended.
#include <gtest/gtest.h>

#include "tests/support/frame_load.h"
#include "tests/support/real_cluster.h"

namespace soma::events {
namespace {

using support::eventually;
using support::FrameLoad;
using support::judge;
using support::RealCluster;

constexpr PartitionId kP{0}, kQ{1};

std::unique_ptr<KafkaLog> open(const KafkaOptions& options) {
  auto log = open_kafka_log(options);
  EXPECT_TRUE(log) << log.error().message;
  return log ? std::move(*log) : nullptr;
}

bool more(const FrameLoad& load, std::size_t frames) {
  const std::size_t goal = load.count() + frames;
  return eventually([&] { return load.count() >= goal; }, 60);
}

TEST(KafkaBroker, KilledAndRestartedUnderLoadLosesAndDoublesNothing) {
  RealCluster cluster(1);
  auto log = open(cluster.options(2));
  ASSERT_TRUE(log);
  FrameLoad p(*log, kP, 1), q(*log, kQ, 2, 64);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(more(p, 200) && more(q, 200)) << "after " << i << " kills";
    cluster.kill(1);
    cluster.resume(1);
  }
  ASSERT_TRUE(more(p, 200) && more(q, 200));
  p.stop();
  q.stop();
  EXPECT_EQ(judge(*log, kP, p.acknowledged()).problem, "");
  EXPECT_EQ(judge(*log, kQ, q.acknowledged()).problem, "");
}

TEST(KafkaBroker, FatalProducersLoseAndDoubleNothing) {
  RealCluster cluster(1);
  auto log = open(cluster.options(2));
  ASSERT_TRUE(log);
  FrameLoad load(*log, kP, 1);
  for (std::uint64_t i = 0; i < 50; ++i) {
    ASSERT_TRUE(more(load, 5)) << "after " << i << " fatal errors";
    log->inject_fatal(kP);
    ASSERT_TRUE(eventually([&] { return log->figures().rebuilt > i; }));
  }
  ASSERT_TRUE(more(load, 5));
  load.stop();
  EXPECT_EQ(judge(*log, kP, load.acknowledged()).problem, "");
}

TEST(KafkaBroker, TopicsAreMadeForAJournalAndRefusedWhenTheyLoseEvents) {
  RealCluster cluster(1);
  KafkaOptions options = cluster.options(2);
  ASSERT_TRUE(open(options));
  const std::string topic = options.topic_prefix + "soma.events";
  const std::string about = cluster.run("topics --describe --topic " + topic);
  for (const char* setting : {"PartitionCount: 2", "cleanup.policy=delete", "retention.ms=-1",
                              "retention.bytes=-1", "unclean.leader.election.enable=false",
                              "min.insync.replicas=1", "max.message.bytes=1048588"})
    EXPECT_NE(about.find(setting), std::string::npos) << setting << " in " << about;

  const std::string change = "configs --alter --entity-type topics --entity-name " + topic;
  cluster.run(change + " --add-config retention.ms=1000,cleanup.policy=compact");
  auto refused = open_kafka_log(options);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kConflict);
  const std::string& message = refused.error().message;
  // The command that the message gives mends it.
  const auto begin = message.find("--alter");
  ASSERT_NE(begin, std::string::npos) << message;
  cluster.run("configs " + message.substr(begin));
  EXPECT_TRUE(open(options));

  options.min_replication = 3;
  EXPECT_EQ(open_kafka_log(options).error().code, Code::kConflict);
  options.min_replication = 1;
  options.partition_count = 4;
  EXPECT_EQ(open_kafka_log(options).error().code, Code::kConflict);
  options.topic_prefix = "absent.";
  EXPECT_EQ(open_kafka_log_readonly(options).error().code, Code::kUnavailable);
}

TEST(KafkaBroker, ALeaderKilledAmongThreeLosesAndDoublesNothing) {
  RealCluster cluster(3);
  KafkaOptions options = cluster.options(3);
  options.min_replication = 3;
  auto log = open(options);
  ASSERT_TRUE(log);
  FrameLoad p(*log, kP, 1), q(*log, kQ, 2);
  for (int node = 1; node <= 2; ++node) {
    ASSERT_TRUE(more(p, 100) && more(q, 100)) << "before node " << node;
    cluster.kill(node);
    ASSERT_TRUE(more(p, 100) && more(q, 100)) << "without node " << node;
    cluster.resume(node);
  }
  p.stop();
  q.stop();
  EXPECT_EQ(judge(*log, kP, p.acknowledged()).problem, "");
  EXPECT_EQ(judge(*log, kQ, q.acknowledged()).problem, "");
}

}  // namespace
}  // namespace soma::events
