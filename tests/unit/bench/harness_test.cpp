// The benchmarks' own measure: quantiles, medians, and a load that counts what a server really did.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <utility>

#include "tests/support/scripted_upstream.h"
#include "tools/bench/apart.h"
#include "tools/bench/child.h"
#include "tools/bench/figures.h"
#include "tools/bench/http_load.h"

namespace soma::bench {
namespace {

TEST(Histogram, QuantilesAreWithinABucketOfTheTruth) {
  Histogram h;
  for (std::uint64_t us = 1; us <= 10'000; ++us) h.add(us * 1000);
  EXPECT_EQ(h.count(), 10'000u);
  EXPECT_NEAR(h.at_ms(0.5), 5.0, 5.0 * 0.035);
  EXPECT_NEAR(h.at_ms(0.99), 9.9, 9.9 * 0.035);
  EXPECT_NEAR(h.at_ms(0.999), 9.99, 9.99 * 0.035);
}

TEST(Histogram, MergingIsAddingAll) {
  Histogram slow, fast, all;
  for (int i = 0; i < 100; ++i) {
    slow.add(50'000'000);
    fast.add(20'000);
    all.add(50'000'000);
    all.add(20'000);
  }
  slow.merge(fast);
  for (const double share : {0.1, 0.49, 0.51, 0.99}) EXPECT_EQ(slow.at_ms(share), all.at_ms(share));
  EXPECT_NEAR(slow.at_ms(0.1), 0.02, 0.001);
  EXPECT_NEAR(slow.at_ms(0.9), 50, 2);
}

TEST(Figures, MedianIsByMemberAndErrorsAdd) {
  std::vector<Figures> runs(3);
  for (std::size_t i = 0; i < 3; ++i) {
    runs[i].ops = std::array{300.0, 100.0, 200.0}[i];
    runs[i].p99_ms = std::array{1.0, 9.0, 5.0}[i];
    runs[i].errors = i;
  }
  const Figures m = median(runs);
  EXPECT_EQ(m.ops, 200);
  EXPECT_EQ(m.p99_ms, 5);
  EXPECT_EQ(m.errors, 3u);
}

TEST(Figures, WhoDidNothingHasNoFigures) {
  Figures f;
  EXPECT_EQ(did_something(f, "dbos").error().code, Code::kUnavailable);
  f.ops = 0.1;
  EXPECT_TRUE(did_something(f, "dbos"));
}

TEST(Figures, LatenciesThatNobodyTookAreNone) {
  Outcome o;
  o.ours.ops = 1000;
  EXPECT_TRUE(to_json(o).at("ours").at("p99_ms").is_number());
  o.ours.timed = false;
  for (const char* name : {"p50_ms", "p99_ms", "p999_ms"})
    EXPECT_TRUE(to_json(o).at("ours").at(name).is_null()) << name;
  EXPECT_EQ(to_table(o).find("0.000"), std::string::npos);
  EXPECT_FALSE(median({o.ours, o.ours, o.ours}).timed);
}

TEST(Figures, ARateThatNobodyMeasuredIsNone) {
  Outcome o;
  o.ours.ops = 1234;
  o.ours.rated = false;
  EXPECT_TRUE(to_json(o).at("ours").at("ops").is_null());
  EXPECT_EQ(to_table(o).find("1234"), std::string::npos);
  EXPECT_FALSE(median({o.ours, o.ours, o.ours}).rated);
}

TEST(Apart, OnlyWhatItComesToIsLeft) {
  std::vector<int> touched;
  struct Made {
    pid_t by;
    double value;
  };
  const auto made = apart<Made>([&]() -> Result<Made> {
    touched.resize(1000);
    return Made{::getpid(), 0.5};
  });
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_NE(made->by, ::getpid());
  EXPECT_EQ(made->value, 0.5);
  EXPECT_TRUE(touched.empty());
}

TEST(Apart, ErrorsAndSuddenEndsAreTold) {
  const auto refused =
      apart<int>([]() -> Result<int> { return fail(Code::kNotFound, "no such folder"); });
  EXPECT_EQ(refused.error().code, Code::kNotFound);
  EXPECT_EQ(refused.error().message, "no such folder");
  EXPECT_EQ(apart<int>([]() -> Result<int> { ::_exit(0); }).error().code, Code::kInternal);
  EXPECT_EQ(apart<int>([]() -> Result<int> { std::abort(); }).error().code, Code::kInternal);
}

TEST(Figures, TheLineHasItsMembersAndRatios) {
  Outcome o;
  o.bench = "counter";
  o.clients = 128;
  o.ours.ops = 1000;
  o.ours.p99_ms = 2;
  const auto alone = to_json(o);
  EXPECT_TRUE(alone.at("peer").is_null());
  EXPECT_TRUE(alone.at("ratio").is_null());
  o.peer_name = "restate";
  o.peer.ops = 100;
  o.peer.p99_ms = 40;
  const auto both = to_json(o);
  EXPECT_EQ(both.at("ratio").at("ops").to_number<double>(), 10);
  EXPECT_EQ(both.at("ratio").at("p99").to_number<double>(), 0.05);
  for (const char* name : {"bench", "when", "machine", "durability", "clients", "ours"})
    EXPECT_TRUE(both.contains(name)) << name;
}

class LoadTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto started = test::ScriptedUpstream::start();
    ASSERT_TRUE(started) << started.error().message;
    upstream_ = std::move(*started);
    script_.port = upstream_->port();
    script_.clients = 4;
    script_.warm_s = 0.05;
    script_.seconds = 0.3;
    script_.begin = [](std::size_t) {
      return http_request("POST", "/v1/chat/completions",
                          R"({"stream":true,"messages":[{"role":"user","content":"hi"}]})");
    };
    script_.good = [](const HttpAnswer& a) {
      return a.status == 200 && a.body.find("[DONE]") != std::string_view::npos;
    };
  }
  std::unique_ptr<test::ScriptedUpstream> upstream_;
  HttpScript script_;
};

TEST_F(LoadTest, CountsOnlyWhatWasAnswered) {
  auto result = run_http(script_);
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->errors, 0u);
  EXPECT_GT(result->latencies.count(), 0u);
  EXPECT_LE(result->latencies.count(), upstream_->stats().chats);
  EXPECT_LE(upstream_->stats().connections, 4u);  // kept alive
}

TEST_F(LoadTest, FailedAnswersAreToldAndNotCounted) {
  test::Behaviour failing;
  failing.status = 500;
  failing.text = "out of order";
  for (int i = 0; i < 3; ++i) upstream_->next(failing);
  script_.warm_s = 0;
  auto result = run_http(script_);
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->errors, 3u);
  EXPECT_NE(result->first_error.find("500"), std::string::npos);
}

TEST_F(LoadTest, AnOperationOfTwoRequestsIsOne) {
  auto asked = std::make_shared<std::vector<int>>(4);
  script_.next = [asked](std::size_t i, const HttpAnswer&) -> std::optional<std::string> {
    if (++(*asked)[i] % 2 == 0) return {};
    return http_request("POST", "/v1/chat/completions",
                        R"({"stream":true,"messages":[{"role":"user","content":"more"}]})");
  };
  auto result = run_http(script_);
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_LE(result->latencies.count() * 2, upstream_->stats().chats);
}

TEST_F(LoadTest, RefusalsAreApartFromErrors) {
  test::Behaviour refusing;
  refusing.status = 503;
  refusing.retry_after_s = 1;
  for (int i = 0; i < 3; ++i) upstream_->next(refusing);
  refusing.retry_after_s = 0;
  upstream_->next(refusing);
  script_.warm_s = 0;
  script_.refused = [](const HttpAnswer& a) { return a.status == 503 && a.retry_after; };
  auto result = run_http(script_);
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->refusals.count(), 3u);
  EXPECT_EQ(result->errors, 1u);
}

TEST_F(LoadTest, AnOpenLoopKeepsItsRate) {
  script_.warm_s = 0;
  script_.seconds = 0.5;
  script_.rate = 400;
  auto result = run_http(script_);
  ASSERT_TRUE(result) << result.error().message;
  const auto begun = static_cast<double>(result->latencies.count() + result->unsent);
  EXPECT_LE(begun, 201);
  EXPECT_GE(begun + 4, 100);  // half: the machine may be slow
  EXPECT_EQ(result->errors, 0u);
}

TEST_F(LoadTest, WhatFindsNoIdleClientIsNotSentLater) {
  test::Behaviour slow;
  slow.delay_ms = 100;
  upstream_->otherwise(slow);
  script_.clients = 1;
  script_.warm_s = 0;
  script_.seconds = 0.55;
  script_.rate = 200;
  auto result = run_http(script_);
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_LE(upstream_->stats().chats, 6u);
  EXPECT_GE(result->unsent, 80u);
}

TEST_F(LoadTest, LatencyOfAnOpenLoopRunsFromTheIntendedTime) {
  script_.warm_s = 0;
  script_.rate = 1000;
  bool first = true;
  const auto request = script_.begin;
  script_.begin = [&](std::size_t i) {  // the generator itself is held up, once
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(100);
    while (std::exchange(first, false))
      while (std::chrono::steady_clock::now() < until) continue;
    return request(i);
  };
  auto result = run_http(script_);
  ASSERT_TRUE(result) << result.error().message;
  const double fourth =  // slowest; those of the clients that should have begun within 4 ms
      1 - 3.5 / static_cast<double>(result->latencies.count());
  EXPECT_GE(result->latencies.at_ms(fourth), 90);
}

TEST_F(LoadTest, NothingAnsweredIsAnError) {
  script_.port = static_cast<std::uint16_t>(free_port());
  script_.seconds = 0.1;
  auto result = run_http(script_);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::kUnavailable);
}

TEST(DataFolder, MemoryIsRefused) {
  EXPECT_FALSE(make_data_folder("/dev/shm"));  // tmpfs
  EXPECT_FALSE(make_data_folder("/nowhere/at/all"));
}

TEST(DataFolder, OthersEnterItSoThatPostgresLeavesNothingElsewhere) {
  const auto made = make_data_folder("/var/tmp");
  ASSERT_TRUE(made) << made.error().message;
  using std::filesystem::perms;
  const auto mode = std::filesystem::status(*made).permissions();
  EXPECT_EQ(mode, perms::owner_all | perms::group_read | perms::group_exec | perms::others_read |
                      perms::others_exec);
  std::filesystem::remove_all(*made);
}

// Where a folder above the given one is closed to the account of PostgreSQL.
TEST(DataFolder, ThePostgresThatLiesElsewhereGoesWithItAndNothingElse) {
  namespace fs = std::filesystem;
  const auto made = make_data_folder("/var/tmp"), others = make_data_folder("/var/tmp");
  ASSERT_TRUE(made && others);
  for (const char* name : {"/somastack-0123456789ab", "/somebodys"}) {
    const std::string home = *others + name;
    fs::create_directories(home + "/cluster");
    fs::create_directories(*made + "/data/run");
    std::ofstream(*made + "/data/run/postgres.home") << home << "\n";
    remove_data_folder(*made);
    EXPECT_FALSE(fs::exists(*made));
    EXPECT_EQ(fs::exists(home), home.ends_with("somebodys")) << home;
  }
  remove_data_folder(*others);
}

}  // namespace
}  // namespace soma::bench
