// Topics beside the journal, on librdkafka's mock cluster: what is sent is read, once committed not
// again; places are kept.
#include <gtest/gtest.h>

#include "events/kafka/topic_clients.h"
#include "tests/support/frame_load.h"
#include "tests/support/mock_cluster.h"

namespace soma::events {
namespace {

using support::eventually;
using support::MockCluster;

TopicRecord record(const std::string& topic, const std::string& key, const std::string& value) {
  TopicRecord r;
  r.topic = topic;
  r.key = key;
  r.value = value;
  r.headers = {{"ce_id", value}, {"twice", "1"}, {"twice", "2"}, {"empty", ""}};
  return r;
}

struct KafkaTopics : ::testing::Test {
  KafkaTopics() : options(cluster.options(4)) { cluster.make_topic("in", 4); }

  std::unique_ptr<TopicReceiver> receiver(const std::string& group) {
    auto r = open_topic_receiver(options, {group, {"in"}, [](const auto&, auto) {}});
    EXPECT_TRUE(r) << r.error().message;
    return std::move(*r);
  }
  std::vector<TopicRecord> read(TopicReceiver& from, std::size_t count) {
    std::vector<TopicRecord> out;
    eventually([&] {
      while (auto r = from.poll(20)) out.push_back(std::move(*r));
      return out.size() >= count;
    });
    return out;
  }

  MockCluster cluster{1};
  KafkaOptions options;
};

TEST_F(KafkaTopics, WhatIsSentIsReadWithKeyHeadersAndOrder) {
  auto sender = open_topic_sender(options);
  ASSERT_TRUE(sender) << sender.error().message;
  std::vector<TopicRecord> records;
  for (int i = 0; i < 20; ++i) records.push_back(record("in", "demo/session/a", std::to_string(i)));
  ASSERT_TRUE((*sender)->send(records));
  const auto in = receiver("g");
  const auto got = read(*in, records.size());
  ASSERT_EQ(got.size(), records.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].value, std::to_string(i));
    EXPECT_EQ(got[i].key, "demo/session/a");
    EXPECT_EQ(got[i].headers, records[i].headers);
    // As Kafka's default partitioner, so that a key means one partition whoever writes.
    EXPECT_EQ(got[i].partition.value, (murmur2("demo/session/a") & 0x7fffffff) % 4);
  }
}

TEST_F(KafkaTopics, WhatIsCommittedIsNotReadAgain) {
  auto sender = open_topic_sender(options);
  ASSERT_TRUE(sender);
  ASSERT_TRUE((*sender)->send({record("in", "k", "a"), record("in", "k", "b")}));
  {
    const auto in = receiver("g");
    const auto got = read(*in, 2);
    ASSERT_EQ(got.size(), 2u);
    ASSERT_TRUE(in->commit({{"in", got[0].partition, got[0].offset.next()}}));
  }
  const auto in = receiver("g");
  const auto got = read(*in, 1);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].value, "b");
}

TEST_F(KafkaTopics, PlacesOutliveTheirWriter) {
  for (int i = 0; i < 2; ++i) {
    auto cursors = open_topic_cursors(options, "places");
    ASSERT_TRUE(cursors) << cursors.error().message;
    auto found = (*cursors)->load("in", PartitionId{2});
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_EQ(found->has_value(), i == 1);
    if (*found) {
      EXPECT_EQ((*found)->next, Offset{17});
      EXPECT_EQ((*found)->note, "v1 as it was");
    }
    ASSERT_TRUE((*cursors)->store("in", PartitionId{2}, {Offset{17}, "v1 as it was"}));
  }
}

TEST_F(KafkaTopics, ASenderThatFailsSendsAgainAfterwards) {
  auto short_options = options;
  short_options.append_timeout_ms = 500;
  auto sender = open_topic_sender(short_options);
  ASSERT_TRUE(sender);
  cluster.set_down(1);
  EXPECT_FALSE((*sender)->send({record("in", "k", "a")}));
  cluster.set_up(1);
  EXPECT_TRUE(eventually([&] { return (*sender)->send({record("in", "k", "b")}).has_value(); }));
}

}  // namespace
}  // namespace soma::events
