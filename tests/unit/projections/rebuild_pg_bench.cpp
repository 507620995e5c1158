// Rows a second: rebuild, following, verification. SOMA_BENCH_EVENTS sets the size of the log.
#include <cstdlib>

#include "tests/unit/projections/pg_fixture.h"

namespace soma::projections::test {

using ProjectionBench = PgTest;

TEST_F(ProjectionBench, RebuildAndVerify) {
  const char* wanted = std::getenv("SOMA_BENCH_EVENTS");
  const int events = wanted ? std::atoi(wanted) : 300'000;
  const auto now = [] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  };
  double began = now();
  journal_->sessions("s", events / 6, 100);
  std::printf("log: %d events in %.2f s\n", events, now() - began);
  began = now();
  start();
  double took = now() - began;
  const auto rows = views_->report().rebuild.rows;
  std::printf("first build: %.2f s, %.0f events/s, %.0f rows/s\n", took, events / took,
              static_cast<double>(rows) / took);
  const auto before = views_->digest();
  began = now();
  ASSERT_TRUE(views_->rebuild());
  took = now() - began;
  std::printf("GATE R18 %.0f events/s 20000 %s\n", events / took,
              events / took >= 20000 ? "PASS" : "FAIL");
  std::printf("GATE B7 %.0f rows/s 100000 %s\n", static_cast<double>(rows) / took,
              static_cast<double>(rows) / took >= 100000 ? "PASS" : "FAIL");
  EXPECT_EQ(*before, *views_->digest());
  began = now();
  expect_faithful();
  std::printf("verify: %.2f s\n", now() - began);
  const auto busy = views_->report();
  began = now();
  journal_->sessions("more", events / 60, 10);
  catch_up();
  const auto after = views_->report();
  std::printf("following: %.0f rows in %.2f s, projector busy %.2f s\n",
              static_cast<double>(after.rows - busy.rows), now() - began,
              after.busy_seconds - busy.busy_seconds);
}

}  // namespace soma::projections::test
