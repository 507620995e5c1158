// Members of a group on a real broker: killed and back, gone for good, two under one name. The
// session is long, so that nothing here happens because it ran out.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <set>

#include "events/kafka/topic_clients.h"
#include "tests/support/frame_load.h"
#include "tests/support/real_cluster.h"

namespace soma::events {
namespace {

using support::eventually;
using support::RealCluster;

constexpr std::int64_t kSessionMs = 120'000;
constexpr std::uint32_t kPartitions = 4;
constexpr int kSoonS = 40;

struct KafkaGroup : ::testing::Test {
  KafkaGroup() : options(cluster.options(kPartitions)) {
    const auto ok = prepare_topics(options, {{"in", kPartitions}});
    EXPECT_TRUE(ok) << ok.error().message;
  }

  std::unique_ptr<TopicReceiver> join(const std::string& member) {
    auto r = open_topic_receiver(options, {"g", member, kSessionMs, {"in"}, [](const auto&) {}});
    EXPECT_TRUE(r) << r.error().message;
    return std::move(*r);
  }
  void send(int count) {
    auto sender = open_topic_sender(options);
    ASSERT_TRUE(sender);
    std::vector<TopicRecord> records;
    for (int i = 0; i < count; ++i) {
      TopicRecord r;
      r.topic = "in";
      r.key = r.value = std::to_string(i);
      records.push_back(std::move(r));
    }
    const auto ok = (*sender)->send(records);
    ASSERT_TRUE(ok) << ok.error().message;
  }
  // What members were given, by partition, until all of them are somebody's.
  static bool covers_all(const std::vector<TopicReceiver*>& members) {
    std::set<std::uint32_t> seen;
    return eventually(
        [&] {
          for (auto* m : members)
            if (const auto r = m->poll(20)) seen.insert(r->partition.value);
          return seen.size() == kPartitions;
        },
        kSoonS);
  }

  RealCluster cluster{1};
  KafkaOptions options;
};

TEST_F(KafkaGroup, KilledAndBackWithinItsSessionAMemberHasItsPartitionsAtOnce) {
  send(40);
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();  // no client of this process is open
  if (child == 0) {
    const auto in = join("a");
    while (!in->poll(50)) continue;
    (void)!::write(ready[1], "!", 1);
    for (;;) in->poll(50);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  const auto in = join("a");
  EXPECT_TRUE(covers_all({in.get()})) << "it waited for the session of the killed one";
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_F(KafkaGroup, WhoLeavesHandsItsPartitionsOverAtOnce) {
  send(40);
  auto a = join("a");
  ASSERT_TRUE(covers_all({a.get()}));
  const auto b = join("b");
  ASSERT_TRUE(eventually([&] { return a->poll(10), b->poll(10).has_value(); }, kSoonS));
  a.reset();
  EXPECT_TRUE(covers_all({b.get()})) << "it waited for the session of the one that left";
}

TEST_F(KafkaGroup, ASecondMemberOfOneNamePutsTheFirstOutWithAClearError) {
  send(40);
  const auto first = join("a");
  ASSERT_TRUE(covers_all({first.get()}));
  ASSERT_TRUE(first->health());
  const auto second = join("a");
  ASSERT_TRUE(
      eventually([&] { return second->poll(10), first->poll(10), !first->health(); }, kSoonS));
  EXPECT_EQ(first->health().error().code, Code::kLocked);
  EXPECT_NE(first->health().error().message.find("node_id"), std::string::npos);
  EXPECT_TRUE(second->health());
  send(40);
  EXPECT_TRUE(covers_all({second.get()}));
}

}  // namespace
}  // namespace soma::events
