// The inbox: order, offsets, retries and dead letters, with routes that answer as the test says.
#include "runtime/integration/inbox.h"

#include <gtest/gtest.h>

#include <atomic>
#include <boost/json/parse.hpp>

#include "tests/unit/integration/fakes.h"
#include "tests/unit/projections/journal.h"

namespace soma::runtime::integration {
namespace {

using projections::test::eventually;

struct InboxTest : ::testing::Test {
  void put(std::uint64_t offset, const std::string& id, const std::string& key = "",
           const std::string& token = "t", std::uint32_t partition = 0, std::size_t bytes = 2) {
    events::TopicRecord r;
    r.topic = "soma.commands";
    r.partition = PartitionId{partition};
    r.offset = Offset{offset};
    r.key = key;
    r.value = R"({"prompt":")" + std::string(bytes, 'x') + R"("})";
    r.headers = {{"ce_id", id}, {"ce_type", "session.start"}};
    if (!token.empty()) r.headers.emplace_back("ce_somatoken", token);
    put(std::move(r));
  }
  void put(events::TopicRecord record) {
    std::lock_guard lock(topics.mutex);
    topics.incoming.push_back(std::move(record));
    topics.changed.notify_all();
  }
  std::unique_ptr<Inbox> start(bool trusted = false) {
    InboxParts parts;
    parts.receiver = [this](auto lost) {
      on_revoked = std::move(lost);
      return Result<std::unique_ptr<events::TopicReceiver>>(
          std::make_unique<test::FakeReceiver>(topics));
    };
    parts.sender = std::make_unique<test::FakeSender>(topics);
    parts.apply = [this](const Command& command, OnAnswer done) {
      std::lock_guard lock(mutex);
      tried.push_back(command.id);
      if (held.contains(command.id)) {
        waiting[command.id] = std::move(done);
        return;
      }
      auto& answers = script[command.id];
      if (answers.empty()) return done(answer(202));
      auto next = answers.front();
      answers.erase(answers.begin());
      done(next);
    };
    parts.ready = [this] { return ready.load(); };
    parts.trusted_producers = trusted;
    parts.metrics = &metrics;
    parts.first_pause = std::chrono::milliseconds(1);
    return std::make_unique<Inbox>(std::move(parts));
  }
  static http::Response answer(int status, const char* code = "", bool retry_after = false) {
    http::Response r;
    r.status = status;
    r.body = std::string(R"({"code":")") + code + R"(","detail":"because"})";
    if (retry_after) r.header("Retry-After", "1");
    return r;
  }
  bool committed(std::uint64_t next, std::uint32_t partition = 0) {
    return eventually([&] {
      std::lock_guard lock(topics.mutex);
      return topics.committed[partition] == next;
    });
  }
  std::vector<std::string> attempts() {
    std::lock_guard lock(mutex);
    return tried;
  }
  // As a rebalance comes: on the inbox's thread, within its poll.
  void revoke_in_poll(std::vector<events::TopicPart> parts) {
    std::unique_lock lock(topics.mutex);
    topics.in_poll = [this, parts] { on_revoked(parts); };
    topics.changed.wait(lock, [&] { return !topics.in_poll; });
  }
  void release(const std::string& id) {
    OnAnswer done;
    {
      std::lock_guard lock(mutex);
      done = std::move(waiting.at(id));
    }
    done(answer(202));
  }

  test::Topics topics;
  Metrics metrics;
  std::function<void(const std::vector<events::TopicPart>&)> on_revoked;
  std::mutex mutex;
  std::vector<std::string> tried;
  std::set<std::string> held;
  std::map<std::string, OnAnswer> waiting;
  std::map<std::string, std::vector<http::Response>> script;
  std::atomic<bool> ready{true};
};

TEST_F(InboxTest, AppliesInOrderThenCommits) {
  for (int i = 0; i < 100; ++i) put(static_cast<std::uint64_t>(i), "id" + std::to_string(i));
  const auto inbox = start();
  ASSERT_TRUE(committed(100));
  ASSERT_EQ(attempts().size(), 100u);
  for (std::size_t i = 0; i < 100; ++i) EXPECT_EQ(attempts()[i], "id" + std::to_string(i));
  EXPECT_TRUE(topics.all_sent().empty());
}

TEST_F(InboxTest, NothingIsCommittedPastWhatStillRuns) {
  held = {"slow"};
  put(0, "first", "a");
  put(1, "slow", "b");
  put(2, "behind", "b");
  put(3, "beside", "c");
  const auto inbox = start();
  ASSERT_TRUE(eventually([&] { return attempts().size() == 3; }));
  ASSERT_TRUE(committed(1));
  EXPECT_EQ(attempts(), (std::vector<std::string>{"first", "slow", "beside"}));
  release("slow");
  ASSERT_TRUE(committed(4));
  EXPECT_EQ(attempts().back(), "behind");
}

TEST_F(InboxTest, WhatIsDoneLeavesTheWindowWithoutWaitingForItsCommit) {
  topics.commits_wait = true;
  const std::uint64_t count = 3 * Inbox::kWindow;
  for (std::uint64_t i = 0; i < count; ++i) put(i, "id" + std::to_string(i));
  auto inbox = start();
  ASSERT_TRUE(eventually([&] { return attempts().size() == count; }));
  {
    std::lock_guard lock(topics.mutex);
    EXPECT_TRUE(topics.committed.empty());
    topics.commits_wait = false;
  }
  EXPECT_TRUE(committed(count));
}

TEST_F(InboxTest, ACommitThatARebalanceOvertookIsTriedAgain) {
  topics.commits_to_refuse = 1;
  put(0, "only");
  const auto inbox = start();
  ASSERT_TRUE(committed(1));
  EXPECT_EQ(topics.commits_to_refuse, 0u);
}

TEST_F(InboxTest, ASlowRecordHoldsUpNeitherOthersNorMemory) {
  held = {"slow"};
  put(0, "slow", "its key");
  const std::uint64_t count = Inbox::kAhead + 10;
  for (std::uint64_t i = 1; i < count; ++i) put(i, "id" + std::to_string(i), "other");
  const auto inbox = start();
  // All that may be ahead of it are applied, and not one more.
  ASSERT_TRUE(eventually([&] { return attempts().size() == Inbox::kAhead; }));
  ASSERT_TRUE(eventually([&] {
    std::lock_guard lock(topics.mutex);
    return !topics.held.empty();
  }));
  EXPECT_EQ(attempts().back(), "id" + std::to_string(Inbox::kAhead - 1));
  {
    std::lock_guard lock(topics.mutex);
    EXPECT_EQ(topics.committed.count(0), 0u) << "past what still runs";
  }
  release("slow");
  ASSERT_TRUE(committed(count));
  EXPECT_EQ(attempts().size(), count);
}

TEST_F(InboxTest, AFullWindowHoldsOnlyItsPartition) {
  for (std::uint64_t i = 0; i < 2 * Inbox::kWindow; ++i) {
    held.insert("slow" + std::to_string(i));
    put(i, "slow" + std::to_string(i), "key" + std::to_string(i));
  }
  put(7, "other", "", "t", 1);
  const auto inbox = start();
  ASSERT_TRUE(committed(8, 1));
  ASSERT_TRUE(eventually([&] { return attempts().size() == Inbox::kWindow + 1; }));
  {
    std::lock_guard lock(topics.mutex);
    EXPECT_EQ(topics.held, (std::set<events::TopicPart>{{"soma.commands", PartitionId{0}}}));
    EXPECT_EQ(topics.incoming.size(), Inbox::kWindow);
  }
  release("slow0");
  ASSERT_TRUE(eventually([&] { return attempts().size() == Inbox::kWindow + 2; }));
  EXPECT_TRUE(committed(1));
}

TEST_F(InboxTest, AWindowIsFullOfBytesToo) {
  const std::size_t large = 1'000'000;
  for (std::uint64_t i = 0; i < 20; ++i) {
    held.insert("large" + std::to_string(i));
    put(i, "large" + std::to_string(i), "key" + std::to_string(i), "t", 0, large);
  }
  put(7, "other", "", "t", 1);
  const auto inbox = start();
  ASSERT_TRUE(committed(8, 1));
  const std::size_t fit = Inbox::kWindowBytes / large + 1;
  ASSERT_TRUE(eventually([&] { return attempts().size() == fit + 1; }));
  {
    std::lock_guard lock(topics.mutex);
    EXPECT_EQ(topics.incoming.size(), 20 - fit);
  }
  release("large0");
  ASSERT_TRUE(eventually([&] { return attempts().size() == fit + 2; }));
}

TEST_F(InboxTest, KeysAndHeadersWeighToo) {
  for (std::uint64_t i = 0; i < 10; ++i) {
    events::TopicRecord r;
    r.topic = "soma.commands";
    r.partition = PartitionId{0};
    r.offset = Offset{i};
    const std::string id = "id" + std::to_string(i);
    r.key = id + std::string(1'000'000, 'k');
    r.value = R"({"prompt":""})";
    r.headers = {{"ce_id", id},
                 {"ce_type", "session.start"},
                 {"ce_somatoken", "t"},
                 {"x", std::string(1'000'000, 'h')}};
    held.insert(id);
    put(std::move(r));
  }
  put(7, "other", "", "t", 1);
  const auto inbox = start();
  ASSERT_TRUE(committed(8, 1));
  ASSERT_TRUE(eventually([&] { return attempts().size() == 6; }));
  std::lock_guard lock(topics.mutex);
  EXPECT_EQ(topics.incoming.size(), 5u);
}

TEST_F(InboxTest, TheNodeHasABoundOfItsOwnAndEachPartitionStillATurn) {
  const std::size_t large = 1'000'000;
  const std::uint32_t partitions = 12;
  for (std::uint32_t p = 0; p < partitions; ++p)
    for (std::uint64_t i = 0; i < 9; ++i) {
      const std::string id = std::to_string(p) + "." + std::to_string(i);
      held.insert(id);
      put(i, id, id, "t", p, large);
    }
  const auto inbox = start();
  // 68 fill it; the partitions of which there is nothing yet give one each.
  const std::size_t fit = Inbox::kAllBytes / large + 1;
  const std::size_t all = fit + partitions - (fit + 8) / 9;
  ASSERT_TRUE(eventually([&] { return attempts().size() == all; }));
  {
    std::lock_guard lock(topics.mutex);
    EXPECT_EQ(topics.incoming.size(), partitions * 9 - all);
    EXPECT_EQ(topics.held.size(), partitions);
  }
  std::vector<std::string> ids;
  {
    std::lock_guard lock(mutex);
    held.clear();
    for (const auto& [id, done] : waiting) ids.push_back(id);
  }
  for (const auto& id : ids) release(id);
  for (std::uint32_t p = 0; p < partitions; ++p) EXPECT_TRUE(committed(9, p)) << p;
  EXPECT_EQ(attempts().size(), partitions * 9);
}

TEST_F(InboxTest, TheGaugeSaysWhetherItIsToldWhatItReads) {
  const auto says = [&](const std::string& what) {
    return eventually(
        [&] { return metrics.render().find("soma_inbox_up " + what) != std::string::npos; });
  };
  topics.assigned = false;
  auto inbox = start();
  EXPECT_TRUE(says("0"));
  {
    std::lock_guard lock(topics.mutex);
    topics.assigned = true;
  }
  EXPECT_TRUE(says("1"));
  inbox.reset();
  EXPECT_TRUE(says("0"));
}

TEST_F(InboxTest, WhatIsLostToAnotherMemberIsNotCommittedByThisOne) {
  held = {"slow"};
  put(0, "first", "a");
  put(1, "slow", "b");
  auto inbox = start();
  ASSERT_TRUE(committed(1));
  ASSERT_TRUE(eventually([&] { return attempts().size() == 2; }));
  revoke_in_poll({{"soma.commands", PartitionId{0}}});
  release("slow");
  inbox.reset();
  std::lock_guard lock(topics.mutex);
  EXPECT_EQ(topics.committed[0], 1u);
}

TEST_F(InboxTest, OneThatIsNoMemberAnyMoreTakesNothingUntilItHasJoinedAnew) {
  put(0, "first");
  const auto inbox = start();
  ASSERT_TRUE(committed(1));
  {
    std::lock_guard lock(topics.mutex);
    topics.commits_wait = true;  // one under way is never told of
  }
  put(1, "second");
  ASSERT_TRUE(eventually([&] { return attempts().size() == 2; }));
  {
    std::lock_guard lock(topics.mutex);
    topics.health = fail(Code::kLocked, "another has its node_id");
    topics.changed.notify_all();
  }
  ASSERT_TRUE(eventually([&] {
    std::lock_guard lock(topics.mutex);
    return topics.gone;
  }));
  {
    std::lock_guard lock(topics.mutex);
    topics.health = {};
    topics.commits_wait = false;
  }
  put(1, "second");  // given again, as it was not committed
  put(2, "third");
  ASSERT_TRUE(committed(3));
  EXPECT_EQ(attempts().back(), "third");
}

TEST_F(InboxTest, WhatIsRefusedBecomesADeadLetterAndTheRestGoesOn) {
  script["bad"] = {answer(422, "invalid_argument")};
  put(0, "bad");
  put(1, "good");
  const auto inbox = start();
  ASSERT_TRUE(committed(2));
  ASSERT_EQ(topics.all_sent().size(), 1u);
  EXPECT_EQ(topics.all_sent()[0].topic, "soma.commands.dlq");
  const auto letter = boost::json::parse(topics.all_sent()[0].value);
  EXPECT_EQ(letter.at("error_type"), "invalid_argument");
  EXPECT_EQ(letter.at("error_message"), "because");
  EXPECT_EQ(letter.at("source_offset"), 0);
  EXPECT_EQ(letter.at("retry_count"), 0);
}

TEST_F(InboxTest, WithoutATokenOnlyTrustedProducersAreTaken) {
  put(0, "nobody", "", "");
  {
    const auto inbox = start();
    ASSERT_TRUE(committed(1));
  }
  EXPECT_TRUE(attempts().empty());
  ASSERT_EQ(topics.all_sent().size(), 1u);
  EXPECT_NE(topics.all_sent()[0].value.find("unauthenticated"), std::string::npos);
  put(1, "trusted", "", "");
  const auto inbox = start(true);
  ASSERT_TRUE(committed(2));
  EXPECT_EQ(attempts(), std::vector<std::string>{"trusted"});
}

TEST_F(InboxTest, TransientFailuresAreTriedAgainAndThenBuried) {
  script["once"] = {answer(503, "unavailable", true)};
  script["busy"] = {answer(409, "conflict", true)};
  script["other"] = {answer(409, "conflict")};
  script["never"] = std::vector<http::Response>(20, answer(503, "model_unavailable"));
  for (std::uint64_t i = 0; const char* id : {"once", "busy", "other", "never", "last"})
    put(i++, id);
  const auto inbox = start();
  ASSERT_TRUE(committed(5));
  const auto all = attempts();
  EXPECT_EQ(std::count(all.begin(), all.end(), "once"), 2);
  EXPECT_EQ(std::count(all.begin(), all.end(), "busy"), 2);
  EXPECT_EQ(std::count(all.begin(), all.end(), "other"), 1);
  EXPECT_EQ(std::count(all.begin(), all.end(), "never"), Inbox::kMaxAttempts);
  ASSERT_EQ(topics.all_sent().size(), 2u);
  const auto letter = boost::json::parse(topics.all_sent()[1].value);
  EXPECT_EQ(letter.at("error_type"), "model_unavailable");
  EXPECT_EQ(letter.at("retry_count"), Inbox::kMaxAttempts);
}

TEST_F(InboxTest, TroubleOfTheNodeBuriesNothing) {
  ready = false;
  script["patient"] = {answer(503, "unavailable"), answer(503, "unavailable")};
  put(0, "patient");
  const auto inbox = start();
  ASSERT_TRUE(eventually([&] { return attempts().size() == 3; }));
  ASSERT_TRUE(committed(1));
  EXPECT_TRUE(topics.all_sent().empty());
}

TEST_F(InboxTest, ARecordIsNotDoneBeforeItsDeadLetterIsDurable) {
  topics.send_fails = true;
  script["bad"] = {answer(401, "unauthenticated")};
  put(0, "bad");
  put(1, "good", "other key");
  const auto inbox = start();
  ASSERT_TRUE(eventually([&] { return attempts().size() == 2; }));
  {
    std::lock_guard lock(topics.mutex);
    EXPECT_EQ(topics.committed.count(0), 0u);
    topics.send_fails = false;
  }
  ASSERT_TRUE(committed(2));
  EXPECT_EQ(topics.all_sent().size(), 1u);
}

TEST_F(InboxTest, ADeadLetterThatHangsStopsNoOtherCommand) {
  topics.sends_wait = true;
  script["bad"] = {answer(422, "invalid_argument")};
  put(0, "bad", "its key");
  auto inbox = start();
  const auto flying = [&] {
    std::lock_guard lock(topics.mutex);
    return topics.flying == 1;
  };
  const bool hangs = eventually(flying);
  put(1, "good", "other");
  put(7, "beside", "", "t", 1);
  const bool beside = committed(8, 1);
  const bool good = eventually([&] { return attempts().size() == 3; });
  {
    std::lock_guard lock(topics.mutex);
    EXPECT_EQ(topics.committed.count(0), 0u) << "past what has no letter";
    topics.sends_wait = false;
  }
  EXPECT_TRUE(hangs && beside && good);
  EXPECT_TRUE(committed(2));
  EXPECT_EQ(topics.all_sent().size(), 1u);
}

TEST_F(InboxTest, ALetterOfWhatWasLostMeanwhileIsNotTriedAgain) {
  topics.sends_wait = true;
  script["bad"] = {answer(422, "invalid_argument")};
  script["worse"] = {answer(422, "invalid_argument")};
  put(0, "bad");
  const auto inbox = start();
  ASSERT_TRUE(eventually([&] {
    std::lock_guard lock(topics.mutex);
    return topics.flying == 1;
  }));
  revoke_in_poll({{"soma.commands", PartitionId{0}}});
  {
    std::lock_guard lock(topics.mutex);
    topics.send_fails = true;
    topics.sends_wait = false;
  }
  ASSERT_TRUE(eventually([&] {
    std::lock_guard lock(topics.mutex);
    return topics.flying == 0;
  }));
  {
    std::lock_guard lock(topics.mutex);
    topics.send_fails = false;
  }
  put(3, "worse", "", "t", 1);
  ASSERT_TRUE(committed(4, 1));
  ASSERT_EQ(topics.all_sent().size(), 1u);
  EXPECT_EQ(boost::json::parse(topics.all_sent()[0].value).at("source_offset"), 3);
}

TEST_F(InboxTest, OwnEventsOnSharedTopicsArePassedBy) {
  events::TopicRecord own;
  own.topic = "slm.requests";
  own.headers = {
      {"ce_id", "evt_1"}, {"ce_type", "inference.started"}, {"ce_source", "/soma/inference"}};
  own.value = "{}";
  put(own);
  const auto inbox = start();
  ASSERT_TRUE(committed(1));
  EXPECT_TRUE(attempts().empty());
  EXPECT_TRUE(topics.all_sent().empty());
}

}  // namespace
}  // namespace soma::runtime::integration
