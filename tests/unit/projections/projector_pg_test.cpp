// The projector against a real PostgreSQL: rows, cursors, faults, rebuilds.
#include <fstream>
#include <future>
#include <thread>

#include "tests/unit/projections/pg_fixture.h"

namespace soma::projections::test {

using namespace std::chrono_literals;
using ProjectorTest = PgTest;

TEST_F(ProjectorTest, ShowsSessionsNewestFirstByPages) {
  journal_->sessions("s", 45);
  start();
  catch_up();
  std::vector<std::string> seen;
  std::string cursor;
  do {
    auto page = views_->list_sessions("acme", "", 20, cursor);
    ASSERT_TRUE(page) << page.error().message;
    for (const auto& s : page->items) seen.push_back(s.session_id);
    cursor = page->next_cursor;
  } while (!cursor.empty());
  ASSERT_EQ(seen.size(), 45U);
  EXPECT_EQ(seen.front(), "s44");
  EXPECT_EQ(seen.back(), "s0");
  auto page = views_->list_sessions("acme", "completed", 1, "");
  ASSERT_TRUE(page);
  const auto& s = page->items.at(0);
  EXPECT_EQ(s.status, "completed");
  EXPECT_EQ(s.turns, 1);
  EXPECT_EQ(s.user, "alice");
  EXPECT_EQ(s.prompt_tokens, 12);
  EXPECT_EQ(s.completion_tokens, 5);
  EXPECT_TRUE(views_->list_sessions("acme", "failed", 10, "")->items.empty());
}

TEST_F(ProjectorTest, RefusesCursorsOfOthers) {
  start();
  for (const char* cursor : {"x", "12", ".", "12x.a"}) {
    auto page = views_->list_sessions("acme", "", 10, cursor);
    ASSERT_FALSE(page) << cursor;
    EXPECT_EQ(page.error().code, Code::kInvalidArgument);
    EXPECT_EQ(page.error().field, "query.cursor");
  }
}

TEST_F(ProjectorTest, KeepsTenantsApart) {
  journal_->sessions("same", 3, 3, "acme");
  journal_->sessions("same", 2, 2, "evil");
  start();
  catch_up();
  EXPECT_EQ(views_->list_sessions("acme", "", 10, "")->items.size(), 3U);
  EXPECT_EQ(views_->list_sessions("evil", "", 10, "")->items.size(), 2U);
  EXPECT_TRUE(views_->list_sessions("' OR true --", "", 10, "")->items.empty());
  EXPECT_TRUE(views_->list_sessions("", "", 10, "")->items.empty());
  auto a = views_->actor_digest("acme", "session", "same0");
  auto b = views_->actor_digest("evil", "session", "same0");
  ASSERT_TRUE(a && b);
  EXPECT_NE(*a, *b);
  EXPECT_EQ(views_->actor_digest("evil", "session", "same2").error().code, Code::kNotFound);
}

TEST_F(ProjectorTest, TakesTextThatPostgresCannotHold) {
  v1::Frame frame;
  journal_->session(frame, "acme", "nul", std::string("a\0b\\u0000", 9));
  journal_->event(frame, "acme", "session", "broken", "session.fact", "\xff\xff");
  const auto at = journal_->append(0, std::move(frame));
  start();
  ASSERT_TRUE(views_->wait_for(at, 10'000));
  EXPECT_EQ(value("SELECT data->'turn_started'->>'prompt' FROM session_events WHERE "
                  "session_id='nul' AND sequence=2"),
            "a\xEF\xBF\xBD"
            "b\\u0000");
  EXPECT_EQ(value("SELECT actor_id || ':' || reason FROM rejected"),
            "broken:the event does not parse");
  expect_faithful();
}

TEST_F(ProjectorTest, OneRefusedRowStopsNobody) {
  start();
  // A tenant of 20 kB does not fit an index: PostgreSQL refuses the row, whatever the tries.
  v1::Frame frame;
  journal_->session(frame, "acme", "before");
  v1::SessionEvent e;
  e.mutable_turn_started()->set_turn(1);
  auto direct_db = direct();
  ASSERT_TRUE(direct_db->run("ALTER TABLE session_events ADD CHECK (session_id <> 'refused')"));
  journal_->session_event(frame, "acme", "refused", e);
  journal_->session(frame, "acme", "after");
  ASSERT_TRUE(views_->wait_for(journal_->append(1, std::move(frame)), 10'000));
  EXPECT_EQ(value("SELECT count(*) FROM sessions"), "2");
  EXPECT_EQ(value("SELECT event_id FROM rejected"), "evt_refused_1");
  EXPECT_EQ(views_->report().rejected, 1U);
}

TEST_F(ProjectorTest, DuplicateAndVoidFramesLeaveNoRows) {
  journal_->sessions("a", 4, 2);
  // The same bytes once more, and what an owner of an older epoch still had in flight.
  auto records = journal_->log().read(PartitionId{0}, Offset{1}, 1);
  ASSERT_TRUE(records);
  events::test::append_wait(journal_->log(), PartitionId{0}, records->front().bytes);
  journal_->claim(0);
  auto stale = events::decode_frame(records->front().bytes);
  v1::Frame zombie = **stale;
  zombie.set_number(zombie.number() + 1);
  for (auto& entry : *zombie.mutable_entries()) entry.mutable_actor()->set_id("zombie");
  events::test::append_wait(journal_->log(), PartitionId{0}, events::encode_frame(zombie));
  v1::Frame frame;
  journal_->session(frame, "acme", "later");
  const auto at = journal_->append(0, std::move(frame));
  start();
  ASSERT_TRUE(views_->wait_for(at, 10'000));
  catch_up();
  EXPECT_EQ(value("SELECT count(*) FROM sessions"), "5");
  EXPECT_EQ(value("SELECT count(*) FROM session_events WHERE session_id='zombie'"), "0");
  EXPECT_EQ(value("SELECT count(*) FROM session_events"), "30");
  expect_faithful();
}

TEST_F(ProjectorTest, GoesOnWhereTheDatabaseSaysAfterTerminationsAndRestarts) {
  start();
  for (int round = 0; round < 8; ++round) {
    journal_->sessions("r" + std::to_string(round) + "_", 20, 5);
    if (round % 4 == 3) {  // -m immediate, in the middle of it
      ::kill(cluster_->pid(), SIGQUIT);
      EXPECT_TRUE(eventually([&] { return !cluster_->running(); }));
      journal_->sessions("down" + std::to_string(round) + "_", 5);
      ASSERT_TRUE(cluster_->ensure());
    } else {
      ASSERT_TRUE(admin().run(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname='" + name_ + "'"));
    }
  }
  catch_up();
  EXPECT_EQ(value("SELECT count(*) FROM sessions"), std::to_string(8 * 20 + 2 * 5));
  EXPECT_EQ(value("SELECT count(*) FROM session_events"), std::to_string(6 * (8 * 20 + 2 * 5)));
  EXPECT_GT(views_->report().failures, 0U);
  expect_faithful();
}

TEST_F(ProjectorTest, WhilePostgresIsAwayReadsFailAndTheRestGoesOn) {
  start();
  journal_->sessions("a", 5);
  catch_up();
  ::kill(cluster_->pid(), SIGQUIT);
  ASSERT_TRUE(eventually([&] { return !cluster_->running(); }));
  auto page = views_->list_sessions("acme", "", 10, "");
  ASSERT_FALSE(page);
  EXPECT_EQ(page.error().code, Code::kUnavailable);
  journal_->sessions("b", 5);
  EXPECT_GT(views_->lag(), 0U);
  ASSERT_TRUE(cluster_->ensure());
  catch_up();
  EXPECT_EQ(views_->list_sessions("acme", "", 20, "")->items.size(), 10U);
  EXPECT_EQ(views_->lag(), 0U);
}

TEST_F(ProjectorTest, RebuildGivesTheSameRowsWhileReadsGoOn) {
  start();
  journal_->sessions("a", 300);
  catch_up();
  const auto before = views_->digest();
  ASSERT_TRUE(before) << before.error().message;
  std::atomic<bool> stop{false};
  std::atomic<int> reads{0};
  std::thread reader([&] {
    while (!stop) {
      auto page = views_->list_sessions("acme", "", 100, "");
      EXPECT_TRUE(page) << page.error().message;
      EXPECT_EQ(page ? page->items.size() : 0, 100U);
      ++reads;
    }
  });
  for (int i = 0; i < 3; ++i) {
    const auto done = views_->rebuild();
    EXPECT_TRUE(done) << (done ? "" : done.error().message);
  }
  stop = true;
  reader.join();
  EXPECT_GT(reads.load(), 10);
  EXPECT_EQ(*views_->digest(), *before);
  EXPECT_EQ(views_->report().rebuild.done, 4U);  // the first start's too
  expect_faithful();
}

TEST_F(ProjectorTest, RebuildUnderWritesMissesNone) {
  start();
  journal_->sessions("a", 50);
  std::thread writer([&] {
    for (int i = 0; i < 60; ++i) journal_->sessions("w" + std::to_string(i) + "_", 10, 5);
  });
  for (int i = 0; i < 3; ++i) {
    const auto done = views_->rebuild();
    EXPECT_TRUE(done) << (done ? "" : done.error().message);
  }
  writer.join();
  catch_up();
  EXPECT_EQ(value("SELECT count(*) FROM sessions"), "650");
  expect_faithful();
}

TEST_F(ProjectorTest, RebuildThatIsCutOffLeavesWhatWasShown) {
  start();
  journal_->sessions("a", 400);
  catch_up();
  const auto before = views_->digest();
  ASSERT_TRUE(views_->start_rebuild("test"));
  EXPECT_EQ(views_->start_rebuild("again").error().code, Code::kConflict);
  for (int i = 0; i < 30 && views_->report().rebuild.running; ++i)
    admin().run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname='" + name_ +
                "' AND query LIKE '%COPY%'");
  ASSERT_TRUE(eventually([&] { return !views_->report().rebuild.running; }));
  ASSERT_TRUE(views_->wait_ready(20'000));
  EXPECT_EQ(*views_->digest(), *before);
  const auto done = views_->rebuild();
  EXPECT_TRUE(done) << (done ? "" : done.error().message);
  EXPECT_EQ(*views_->digest(), *before);
}

TEST_F(ProjectorTest, RestartGoesOnWithoutARebuild) {
  start();
  journal_->sessions("a", 30);
  catch_up();
  views_.reset();
  journal_->sessions("b", 30);
  start();
  catch_up();
  EXPECT_EQ(views_->report().rebuild.done, 0U);
  EXPECT_EQ(value("SELECT count(*) FROM sessions"), "60");
  expect_faithful();
}

TEST_F(ProjectorTest, RowsOfAnotherLogAreNotContinued) {
  start();
  journal_->sessions("old", 200);
  catch_up();
  views_.reset();
  // Restored from a backup, shorter; then another one, longer.
  for (int sessions : {20, 400}) {
    journal_.reset();
    std::filesystem::remove_all(logs_.path() / "log");
    journal_ = std::make_unique<Journal>((logs_.path() / "log").string());
    journal_->sessions("new" + std::to_string(sessions) + "_",
                       sessions);  // else it is a longer one
    start();
    catch_up();
    EXPECT_EQ(views_->report().rebuild.done, 1U);
    EXPECT_EQ(value("SELECT count(*) FROM sessions"), std::to_string(sessions));
    expect_faithful();
    views_.reset();
  }
}

TEST_F(ProjectorTest, TablesOfAnotherBuildAreReplaced) {
  start();
  journal_->sessions("a", 10);
  catch_up();
  views_.reset();
  direct()->run("COMMENT ON SCHEMA soma IS 'older'; ALTER TABLE sessions DROP COLUMN turns");
  start();
  catch_up();
  EXPECT_EQ(views_->list_sessions("acme", "", 20, "")->items.size(), 10U);
  EXPECT_EQ(views_->report().rebuild.reason, "tables of another build");
}

TEST_F(ProjectorTest, NobodyWaitsForAServerThatIsNotThere) {
  const auto views =
      Projections::start(journal_->log(), {"postgresql://nobody@127.0.0.1:1/none", {}, {}});
  ASSERT_TRUE(views);
  const auto began = std::chrono::steady_clock::now();
  EXPECT_FALSE((*views)->wait_ready(60'000));
  EXPECT_LT(std::chrono::steady_clock::now() - began, 30s);
  EXPECT_EQ((*views)->health().error().code, Code::kUnavailable);
}

TEST_F(ProjectorTest, WhoHasNothingToWriteMissesAServerThatIsGone) {
  start();
  journal_->sessions("a", 3);
  catch_up();
  ASSERT_TRUE(eventually([&] { return views_->lag() == 0; }));
  const auto before = views_->report().failures;
  ASSERT_TRUE(admin().run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname='" +
                          name_ + "'"));
  EXPECT_TRUE(eventually([&] { return views_->report().failures > before; }));
  ASSERT_TRUE(views_->wait_ready(20'000));
}

TEST_F(ProjectorTest, OnlyOneFeedsADatabaseAndTheOtherTakesOver) {
  start();
  journal_->sessions("a", 10);
  catch_up();
  auto other = Projections::start(journal_->log(), {url(), {}, {}});
  ASSERT_TRUE(other);
  ASSERT_TRUE((*other)->wait_ready(10'000));
  EXPECT_TRUE((*other)->report().passive);
  EXPECT_EQ((*other)->start_rebuild("no").error().code, Code::kConflict);
  EXPECT_EQ((*other)->list_sessions("acme", "", 20, "")->items.size(), 10U);
  views_.reset();
  const auto at = journal_->sessions("b", 10);
  ASSERT_TRUE((*other)->wait_for(at, 10'000));
  EXPECT_EQ((*other)->list_sessions("acme", "", 30, "")->items.size(), 20U);
  EXPECT_FALSE((*other)->report().passive);
  views_ = std::move(*other);
  expect_faithful();
}

TEST_F(ProjectorTest, AStoppedPostgresDoesNotHoldUpShutdown) {
  start();
  journal_->sessions("a", 5);
  catch_up();
  auto blocker = direct();  // holds what the projector needs
  ASSERT_TRUE(blocker->run("BEGIN; LOCK TABLE session_events"));
  journal_->sessions("b", 5);
  ASSERT_TRUE(eventually([&] {
    auto waiting = admin().query("SELECT 1 FROM pg_locks WHERE NOT granted", {});
    return waiting && !waiting->empty();
  }));
  const auto began = std::chrono::steady_clock::now();
  views_.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - began, 5s);
}

// Its server stands in its recovery, where it takes no connection.
TEST_F(ProjectorTest, AStopDoesNotWaitForAServerThatStarts) {
  TempFolder folder;
  std::filesystem::permissions(folder.path(), std::filesystem::perms(0711));
  const auto opened = [&] {
    return std::move(*Projections::start(journal_->log(), {"", folder.path().string(), {}}));
  };
  views_ = opened();
  ASSERT_TRUE(views_->wait_ready(30'000)) << views_->health().error().message;
  views_.reset();
  const std::string cluster = folder.path().string() + "/postgres/cluster";
  const std::string settings = cluster + "/postgresql.auto.conf", asked = cluster + "/asked";
  std::string before;
  std::getline(std::ifstream(settings), before, '\0');
  std::ofstream(settings, std::ios::app)
      << "restore_command = 'touch " + asked + "; sleep 120; false'\n";
  std::ofstream(cluster + "/recovery.signal") << "";
  views_ = opened();
  ASSERT_TRUE(eventually([&] { return std::filesystem::exists(asked); }));
  const auto began = std::chrono::steady_clock::now();
  views_.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - began, 3s);
  std::filesystem::remove(cluster + "/recovery.signal");
  std::ofstream(settings) << before;
  views_ = opened();
  EXPECT_TRUE(views_->wait_ready(30'000)) << views_->health().error().message;
}

TEST_F(ProjectorTest, WhoIsStillToBeAnsweredIsToldThatTheNodeStops) {
  start();
  journal_->sessions("a", 3);
  catch_up();
  views_.reset();
  std::promise<void> follows, may_go_on;
  auto views = Projections::start(
      journal_->log(), {url(), {}, [&](const Notice& n) {
                          if (n.event != "projections_following") return;
                          follows.set_value();
                          may_go_on.get_future().wait();  // the projector's thread is busy
                        }});
  ASSERT_TRUE(views);
  follows.get_future().wait();
  EXPECT_EQ((*views)->list_sessions("acme", "", 10, "")->items.size(), 3U);
  (*views)->shut_down();
  const auto late = (*views)->list_sessions("acme", "", 10, "");
  may_go_on.set_value();
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Code::kUnavailable);
}

TEST_F(ProjectorTest, ListsOfOneStatusHaveAnIndex) {
  ASSERT_TRUE(admin().run("ALTER DATABASE " + name_ + " SET enable_seqscan = off"));
  start();
  journal_->sessions("a", 300, 50);
  catch_up();
  ASSERT_TRUE(views_->rebuild());
  EXPECT_TRUE(eventually([&] {  // PostgreSQL counts a connection's scans once a second
    EXPECT_TRUE(views_->list_sessions("acme", "failed", 10, "")->items.empty());
    return value(
               "SELECT coalesce(sum(idx_scan), 0) > 0 FROM pg_stat_user_indexes WHERE "
               "indexrelname = 'sessions_by_status'") == "t";
  }));
}

// What runs already may have read what is erased by now: it ends, and does not count.
TEST_F(ProjectorTest, TheRebuildOfAnErasureBeginsAfterTheOneThatRuns) {
  start();
  journal_->sessions("a", 50);
  catch_up();
  auto blocker = direct();
  ASSERT_TRUE(blocker->run("CREATE SCHEMA soma_next; CREATE TABLE soma_next.held (n int)"));
  ASSERT_TRUE(blocker->run("BEGIN; LOCK TABLE soma_next.held"));
  ASSERT_TRUE(views_->start_rebuild("test"));
  ASSERT_TRUE(eventually([&] {
    auto waiting = admin().query("SELECT 1 FROM pg_locks WHERE NOT granted", {});
    return waiting && !waiting->empty();
  }));
  const Over over = views_->start_over();
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(views_->wait_over(over, 50).error().code, Code::kDeadlineExceeded);
  EXPECT_EQ(views_->report().rebuild.done, 1U);  // the first start's
  ASSERT_TRUE(blocker->run("ROLLBACK"));
  const auto whole = views_->wait_over(over, 30'000);
  ASSERT_TRUE(whole) << whole.error().message;
  EXPECT_FALSE(*whole);
  EXPECT_EQ(views_->report().rebuild.done, 3U);
  EXPECT_TRUE(views_->wait_over(over, 0));
  EXPECT_EQ(views_->report().rebuild.done, 3U);
  expect_faithful();
}

TEST_F(ProjectorTest, AnOwnClusterIsMadeAnewOnceHoweverOftenItIsWaitedFor) {
  TempFolder folder;
  std::filesystem::permissions(folder.path(), std::filesystem::perms(0711));
  journal_->sessions("a", 300);
  auto views = Projections::start(journal_->log(), {"", folder.path().string(), {}});
  ASSERT_TRUE(views);
  views_ = std::move(*views);
  ASSERT_TRUE(views_->wait_ready(30'000)) << views_->health().error().message;
  const std::string mark = folder.path().string() + "/postgres/cluster/mark";
  std::ofstream(mark) << "";
  const Over over = views_->start_over();
  EXPECT_EQ(views_->wait_over(over, 0).error().code, Code::kDeadlineExceeded);
  ASSERT_TRUE(eventually([&] {
    const auto whole = views_->wait_over(over, 10);
    return whole && *whole;
  }));
  EXPECT_FALSE(std::filesystem::exists(mark));
  EXPECT_EQ(views_->report().rebuild.done, 2U);
  expect_faithful();
}

}  // namespace soma::projections::test
