// Topics beside the journal, on librdkafka's mock cluster: what is sent is read, once committed not
// again; places are kept.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>

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
    auto r = open_topic_receiver(options, {group, "", 6000, {"in"}, [](const auto&) {}});
    EXPECT_TRUE(r) << r.error().message;
    return std::move(*r);
  }
  std::vector<TopicRecord> read(TopicReceiver& from, std::size_t count) {
    std::vector<TopicRecord> out;
    eventually([&] {
      if (auto r = from.poll(20)) out.push_back(std::move(*r));
      return out.size() == count;
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
    ASSERT_TRUE(in->commit({{{"in", got[0].partition}, got[0].offset.next()}}));
  }
  const auto in = receiver("g");
  const auto got = read(*in, 1);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].value, "b");
}

TEST_F(KafkaTopics, ACommitIsToldWithoutWaitingForIt) {
  auto sender = open_topic_sender(options);
  ASSERT_TRUE(sender);
  ASSERT_TRUE((*sender)->send({record("in", "k", "a"), record("in", "k", "b")}));
  {
    const auto in = receiver("g");
    const auto got = read(*in, 2);
    ASSERT_EQ(got.size(), 2u);
    std::optional<Status> told;
    in->commit_soon({{{"in", got[0].partition}, got[0].offset.next()}},
                    [&](Status status) { told = std::move(status); });
    EXPECT_FALSE(told) << "it waited";
    ASSERT_TRUE(eventually([&] {
      in->poll(20);
      return told.has_value();
    }));
    EXPECT_TRUE(*told);
  }
  const auto in = receiver("g");
  const auto got = read(*in, 1);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].value, "b");
}

TEST_F(KafkaTopics, WhatIsHeldGivesNothingAndLosesNothing) {
  auto sender = open_topic_sender(options);
  ASSERT_TRUE(sender);
  std::vector<TopicRecord> records;
  for (int i = 0; i < 40; ++i)
    records.push_back(record("in", i % 2 ? "k" : "other", std::to_string(i)));
  ASSERT_TRUE((*sender)->send(records));
  const auto in = receiver("g");
  const auto first = read(*in, 1);
  ASSERT_EQ(first.size(), 1u);
  const TopicPart held{"in", first[0].partition};
  in->hold(held, true);
  auto beside = read(*in, 20);
  for (const auto& r : beside) EXPECT_NE(r.partition, held.partition);
  ASSERT_EQ(beside.size(), 20u);
  EXPECT_FALSE(in->poll(300));
  in->hold(held, false);
  const auto rest = read(*in, 19);
  ASSERT_EQ(rest.size(), 19u);
  Offset next = first[0].offset.next();
  for (const auto& r : rest) {
    EXPECT_EQ(r.offset, next);
    next = r.offset.next();
  }
}

TEST_F(KafkaTopics, AWaitForRecordsEndsWhenItIsWoken) {
  const auto in = receiver("g");
  const auto took = [&](int wait_ms) {
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_FALSE(in->poll(wait_ms));
    return std::chrono::steady_clock::now() - begin;
  };
  constexpr auto kQuiet = std::chrono::milliseconds(500);
  ASSERT_TRUE(eventually([&] { return took(500) >= kQuiet && in->assigned(); }));
  in->wake();  // before the wait
  EXPECT_LT(took(10'000), std::chrono::seconds(5));
}

TEST_F(KafkaTopics, ACommitThatARebalanceOvertookIsToldSo) {
  auto sender = open_topic_sender(options);
  ASSERT_TRUE(sender);
  ASSERT_TRUE((*sender)->send({record("in", "k", "a")}));
  const auto in = receiver("g");
  const auto got = read(*in, 1);
  ASSERT_EQ(got.size(), 1u);
  const std::vector<TopicPlace> places = {{{"in", got[0].partition}, got[0].offset.next()}};
  constexpr int kRebalanceInProgress = 27;
  cluster.fail_commit(kRebalanceInProgress);
  std::optional<Status> told;
  in->commit_soon(places, [&](Status status) { told = std::move(status); });
  ASSERT_TRUE(eventually([&] {
    in->poll(20);
    return told.has_value();
  }));
  ASSERT_FALSE(*told);
  EXPECT_EQ(told->error().code, Code::kConflict);
  EXPECT_TRUE(eventually([&] { return in->poll(20), in->commit(places).has_value(); }));
}

TEST_F(KafkaTopics, AFullPartitionLeavesTurnsToOthersAndToTheGroup) {
  auto sender = open_topic_sender(options);
  ASSERT_TRUE(sender);
  std::vector<TopicRecord> records;
  for (int i = 0; i < 2000; ++i)
    records.push_back(record("in", i % 2 ? "k" : "other", std::to_string(i)));
  ASSERT_TRUE((*sender)->send(records));
  const auto in = receiver("g");
  // Until something of both is here.
  const auto first = read(*in, 1);
  ASSERT_EQ(first.size(), 1u);
  in->hold({"in", first[0].partition}, true);
  const auto second = read(*in, 1);
  ASSERT_EQ(second.size(), 1u);
  in->hold({"in", first[0].partition}, false);
  std::optional<Status> told;
  in->commit_soon({{{"in", first[0].partition}, first[0].offset.next()}},
                  [&](Status status) { told = std::move(status); });
  std::map<PartitionId, int> seen;
  for (const auto& r : read(*in, 500)) ++seen[r.partition];
  EXPECT_EQ(seen.size(), 2u);
  read(*in, 1400);
  EXPECT_TRUE(told) << "no turn in 1,900 records";
}

TEST_F(KafkaTopics, WhatTheGroupRefusesIsLoggedOnceAndItIsTriedAgain) {
  std::mutex mutex;
  int said = 0;
  options.on_log = [&](int, const std::string& line) {
    std::lock_guard lock(mutex);
    said += line.find("uthorization") != line.npos;
  };
  constexpr int kGroupAuthorizationFailed = 30;
  cluster.fail_join(kGroupAuthorizationFailed);
  const auto in = receiver("g");
  EXPECT_FALSE(in->assigned());
  ASSERT_TRUE(eventually([&] {
    in->poll(20);
    return in->assigned();
  }));
  std::lock_guard lock(mutex);
  EXPECT_EQ(said, 1);
}

TEST_F(KafkaTopics, SeveralBatchesAreInFlightAndToldInOrder) {
  auto sender = open_topic_sender(options);
  ASSERT_TRUE(sender);
  std::atomic<int> woken{0};
  (*sender)->wake_with([&] { ++woken; });
  cluster.set_rtt(1, 200);
  std::vector<int> told;
  for (int i = 0; i < 3; ++i)
    (*sender)->send_soon({record("in", "k", std::to_string(i))}, [&told, i](const Status& status) {
      EXPECT_TRUE(status);
      told.push_back(i);
    });
  EXPECT_TRUE(told.empty()) << "it waited";
  EXPECT_TRUE(eventually([&] { return woken > 0; }));
  EXPECT_TRUE(eventually([&] {
    (*sender)->poll(20);
    return told.size() == 3;
  }));
  EXPECT_EQ(told, (std::vector<int>{0, 1, 2}));
}

TEST_F(KafkaTopics, WhenOneFailsAllInFlightAreToldSoAndNothingOvertakesIt) {
  auto short_options = options;
  short_options.append_timeout_ms = 500;
  auto sender = open_topic_sender(short_options);
  ASSERT_TRUE(sender);
  ASSERT_TRUE((*sender)->send({record("in", "k", "before")}));
  cluster.set_down(1);
  int failed = 0;
  for (int i = 0; i < 3; ++i)
    (*sender)->send_soon({record("in", "k", std::to_string(i))},
                         [&](const Status& status) { failed += !status; });
  ASSERT_TRUE(eventually([&] {
    (*sender)->poll(20);
    return failed > 0;
  }));
  EXPECT_EQ(failed, 3);
  cluster.set_up(1);
  std::vector<TopicRecord> again;
  for (int i = 0; i < 3; ++i) again.push_back(record("in", "k", std::to_string(i)));
  EXPECT_TRUE(eventually([&] { return (*sender)->send(again).has_value(); }));
  const auto in = receiver("g");
  auto got = read(*in, 4);
  // What came before the failure may be there twice, but never a later one first.
  std::vector<std::string> firsts;
  for (const auto& r : got)
    if (std::find(firsts.begin(), firsts.end(), r.value) == firsts.end()) firsts.push_back(r.value);
  EXPECT_EQ(firsts, (std::vector<std::string>{"before", "0", "1", "2"}));
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
    ASSERT_TRUE((*cursors)->store(
        "in", {{PartitionId{1}, {Offset{5}, ""}}, {PartitionId{2}, {Offset{17}, "v1 as it was"}}}));
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
