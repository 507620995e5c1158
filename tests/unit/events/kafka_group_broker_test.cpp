// Members of a group on a real broker: killed and back, gone for good, two under one name. The
// session is long, so that nothing here happens because it ran out.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <set>

#include "events/kafka/client.h"
#include "events/kafka/membership.h"
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
    // Nothing of it outlives the test, whatever happens to either.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::alarm(2 * kSoonS);
    ::close(ready[0]);
    const auto in =
        open_topic_receiver(options, {"g", "a", kSessionMs, {"in"}, [](const auto&) {}});
    if (!in) ::_exit(1);
    while (!(*in)->poll(50)) continue;
    (void)!::write(ready[1], "!", 1);
    for (;;) (*in)->poll(50);
  }
  ::close(ready[1]);  // so that the death of the child ends the wait
  char byte = 0;
  const auto heard = ::read(ready[0], &byte, 1);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ASSERT_EQ(heard, 1) << "the child is no member";
  const auto in = join("a");
  EXPECT_TRUE(covers_all({in.get()})) << "it waited for the session of the killed one";
  ::close(ready[0]);
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

TEST_F(KafkaGroup, WhoCommitsAllTheTimeKeepsItsPartitionsWhenAnotherJoins) {
  send(400);
  std::set<TopicPart> lost_without_word;
  TopicReceiver* who = nullptr;
  std::map<TopicPart, Offset> done;
  int revoked = 0;
  ReceiverOptions of_a{"g", "a", kSessionMs, {"in"}, [&](const std::vector<TopicPart>& parts) {
                         ++revoked;
                         if (!who->assigned()) lost_without_word.insert(parts.begin(), parts.end());
                         std::vector<TopicPlace> places;
                         for (const auto& [part, next] : done) places.push_back({part, next});
                         EXPECT_TRUE(who->commit(places));
                         done.clear();
                       }};
  auto a = open_topic_receiver(options, of_a);
  ASSERT_TRUE(a) << a.error().message;
  who = a->get();
  bool committing = false;
  std::set<TopicPart> given;
  const auto step = [&] {
    if (const auto r = who->poll(10)) {
      given.insert({r->topic, r->partition});
      done[{r->topic, r->partition}] = r->offset.next();
    }
    if (committing || done.empty()) return;
    std::vector<TopicPlace> places;
    for (const auto& [part, next] : done) places.push_back({part, next});
    committing = true;
    who->commit_soon(places, [&](const Status&) { committing = false; });
  };
  ASSERT_TRUE(eventually([&] { return step(), given.size() == kPartitions; }, kSoonS));
  // Each of them comes, has its share and goes, while the first commits.
  for (int i = 0; i < 5; ++i) {
    const int before = revoked;
    const auto b = join("b" + std::to_string(i));
    ASSERT_TRUE(eventually(
        [&] { return step(), (void)b->poll(10), b->assigned() && revoked > before; }, kSoonS));
    ASSERT_TRUE(eventually([&] { return step(), (void)b->poll(10), who->assigned(); }, kSoonS));
  }
  EXPECT_TRUE(lost_without_word.empty());
  EXPECT_GE(revoked, 5);
  done.clear();  // nothing to commit while it leaves
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

constexpr std::int64_t kShortSessionMs = 12'000;  // a member hears of it at its next beat, a second

struct NodesGroup : KafkaGroup {
  NodesGroup() {
    const auto log = open_kafka_log(options);
    EXPECT_TRUE(log) << log.error().message;
  }
  std::unique_ptr<Membership> join_nodes_as_a() {
    auto m = join_nodes(options, {"a", kShortSessionMs}, [](auto, auto) {});
    EXPECT_TRUE(m) << m.error().message;
    return std::move(*m);
  }
  static bool has_all(const Membership& m) { return m.health() && m.given().size() == kPartitions; }
};

// A late request to join, of a process that has given it up.
TEST_F(NodesGroup, AMemberThatALateRequestReplacedJoinsAnew) {
  const auto member = join_nodes_as_a();
  ASSERT_TRUE(eventually([&] { return has_all(*member); }, kSoonS));
  bool replaced = false, taken = false;
  {
    kafka::ClientEvents silent;
    const auto request =
        kafka::make_client(RD_KAFKA_CONSUMER, options,
                           {{"group.id", options.topic_prefix + "soma.nodes"},
                            {"group.instance.id", "a"},
                            {"partition.assignment.strategy", "cooperative-sticky"},
                            {"session.timeout.ms", std::to_string(kShortSessionMs)}},
                           silent);
    ASSERT_TRUE(request) << request.error().message;
    rd_kafka_poll_set_consumer(request->get());
    auto* topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, kafka::journal_topic(options).c_str(), -1);
    rd_kafka_subscribe(request->get(), topics);
    rd_kafka_topic_partition_list_destroy(topics);
    ASSERT_TRUE(eventually(
        [&] {
          if (auto* m = rd_kafka_consumer_poll(request->get(), 10)) rd_kafka_message_destroy(m);
          const auto health = member->health();
          replaced = replaced || !health || member->given().empty();
          taken = taken || (!health && health.error().code == Code::kLocked);
          return replaced;
        },
        kSoonS));
  }
  EXPECT_TRUE(eventually([&] { return has_all(*member); }, kSoonS));
  EXPECT_FALSE(taken) << "its own request counted as another process";
}

TEST_F(NodesGroup, AMemberThatAnotherProcessReplacedIsOut) {
  const auto first = join_nodes_as_a();
  ASSERT_TRUE(eventually([&] { return has_all(*first); }, kSoonS));
  const auto second = join_nodes_as_a();
  ASSERT_TRUE(eventually(
      [&] { return !first->health() && first->health().error().code == Code::kLocked; }, kSoonS));
  EXPECT_TRUE(eventually([&] { return has_all(*second); }, kSoonS));
}

}  // namespace
}  // namespace soma::events
