// Log lines cannot be forged or leak; metrics render; trace context follows the W3C.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/telemetry/log.h"
#include "runtime/telemetry/metrics.h"
#include "runtime/telemetry/trace.h"

namespace soma::runtime {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Log, JsonAndTextLines) {
  const LogFields fields = {{"name", "a b"}, {"n", 5}, {"ok", true}, {"ratio", 0.5}};
  EXPECT_EQ(format_log_line(LogLevel::kInfo, "started", fields, true),
            R"({"level":"info","event":"started","name":"a b","n":5,"ok":true,"ratio":0.5})");
  EXPECT_EQ(
      format_log_line(LogLevel::kWarn, "started", {{"a", "x"}, {"b", "y z"}, {"c", ""}}, false),
      R"(warn started a=x b="y z" c="")");
}

TEST(Log, NothingFromOutsideMakesASecondLineOrATerminalCommand) {
  for (const std::string evil : {"a\nlevel=error", "\x1b[2J", "a\r\nb", "\"}\n{", "\x7f",
                                 "\xC2\x9B"
                                 "2J",
                                 "\xFF\xFE", "\xED\xA0\x80"}) {
    for (const bool json : {true, false}) {
      const std::string line = format_log_line(LogLevel::kInfo, "e", {{"v", evil}}, json);
      for (const unsigned char c : line) EXPECT_TRUE(c >= 0x20 && c != 0x7F) << line;
      EXPECT_EQ(line.find("\xC2\x9B"), std::string::npos);
      EXPECT_EQ(line.find('\xFF'), std::string::npos);
    }
  }
}

TEST(Log, SecretsByNameAreNotWritten) {
  const std::string line =
      format_log_line(LogLevel::kInfo, "e",
                      {{"api_key", "k1"}, {"access_token", "t1"}, {"prompt_tokens", 17}}, true);
  EXPECT_THAT(line, Not(HasSubstr("k1")));
  EXPECT_THAT(line, Not(HasSubstr("t1")));
  EXPECT_THAT(line, HasSubstr("\"prompt_tokens\":17"));
}

TEST(Log, LinesAreBounded) {
  const std::string big(100000, 'x');
  const std::string line = format_log_line(LogLevel::kInfo, "e",
                                           {{"a", big},
                                            {"b", big},
                                            {"c", big},
                                            {"d", big},
                                            {"e", big},
                                            {"f", big},
                                            {"g", big},
                                            {"h", big},
                                            {"i", big},
                                            {"j", big}},
                                           true);
  EXPECT_LE(line.size(), kMaxLogLine);
  EXPECT_THAT(line, HasSubstr("\"cut\":true}"));
}

TEST(Metrics, OneSeriesPerNameAndLabels) {
  Metrics metrics;
  metrics.counter("soma_a_total", "A", {{"x", "1"}}).add();
  metrics.counter("soma_a_total", "A", {{"x", "1"}}).add(2);
  metrics.counter("soma_a_total", "A", {{"x", "2"}}).add();
  metrics.gauge("soma_g", "G").set(7);
  metrics.histogram("soma_h", "H").observe(0.003);
  const std::string page = metrics.render();
  EXPECT_THAT(page, HasSubstr("soma_a_total{x=\"1\"} 3"));
  EXPECT_THAT(page, HasSubstr("soma_a_total{x=\"2\"} 1"));
  EXPECT_THAT(page, HasSubstr("soma_g 7"));
  EXPECT_THAT(page, HasSubstr("soma_h_bucket{le=\"0.005\"} 1"));
}

TEST(Metrics, WrongUseCountsAndDoesNothing) {
  Metrics metrics;
  metrics.counter("soma_a", "A").add();
  metrics.gauge("soma_a", "another kind").set(5);
  metrics.counter("bad name!", "B").add();
  Counter().add();
  const std::string page = metrics.render();
  EXPECT_THAT(page, HasSubstr("soma_a 1"));
  EXPECT_THAT(page, HasSubstr("soma_metrics_dropped_series 2"));
}

TEST(Metrics, SeriesAreBounded) {
  Metrics metrics;
  for (std::size_t i = 0; i < Metrics::kMaxSeries + 5; ++i)
    metrics.counter("soma_many", "M", {{"i", std::to_string(i)}}).add();
  EXPECT_THAT(metrics.render(), HasSubstr("soma_metrics_dropped_series 5"));
}

TEST(Trace, ParsesOnlyWhatTheStandardAllows) {
  const std::string good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  const auto parsed = parse_traceparent(good);
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->text(), good);
  EXPECT_TRUE(parse_traceparent("01" + good.substr(2) + "-more").has_value());
  for (const std::string& bad :
       {std::string(), good + "-x", "ff" + good.substr(2), good.substr(1),
        "00-" + std::string(32, '0') + good.substr(35),
        good.substr(0, 36) + std::string(16, '0') + "-01",
        std::string("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01")})
    EXPECT_FALSE(parse_traceparent(bad).has_value()) << bad;
}

TEST(Metrics, WhatIsCountedElsewhereIsBroughtOver) {
  Metrics metrics;
  const auto counter = metrics.counter("c_total", "c");
  counter.reach(3);
  counter.reach(5);
  counter.reach(4);  // a counter does not fall
  const auto histogram = metrics.histogram("h_seconds", "h", {1, 2});
  histogram.reach({1, 0, 2}, 9);
  histogram.reach({1, 4, 2}, 15);
  const auto page = metrics.render();
  EXPECT_THAT(page, HasSubstr("c_total 5"));
  EXPECT_THAT(page, HasSubstr("h_seconds_bucket{le=\"1\"} 1"));
  EXPECT_THAT(page, HasSubstr("h_seconds_bucket{le=\"2\"} 5"));
  EXPECT_THAT(page, HasSubstr("h_seconds_bucket{le=\"+Inf\"} 7"));
  EXPECT_THAT(page, HasSubstr("h_seconds_sum 15"));
}

TEST(Trace, ChildrenKeepTheTrace) {
  const std::string parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
  const auto child = parse_traceparent(continue_trace(parent));
  ASSERT_TRUE(child.has_value());
  EXPECT_EQ(child->trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_NE(child->span_id, "00f067aa0ba902b7");
  EXPECT_EQ(child->flags, 0);
  EXPECT_NE(continue_trace("nonsense"), continue_trace("nonsense"));
  EXPECT_EQ(random_hex(3).size(), 6u);
}

}  // namespace
}  // namespace soma::runtime
