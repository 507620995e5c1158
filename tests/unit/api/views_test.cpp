// States and events as the contract shows them.
#include "runtime/api/views.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

namespace soma::runtime {
namespace {

namespace json = boost::json;

template <typename M>
M message(const std::string& text) {
  M out;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &out)) << text;
  return out;
}

TEST(Views, TimesAreUtcWithMilliseconds) {
  EXPECT_EQ(views::iso_time(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(views::iso_time(1769851800123), "2026-01-31T09:30:00.123Z");
}

TEST(Views, ASessionHasAllItsMembers) {
  const auto out = views::session(message<v1::SessionState>(
      "session_id: 's' tenant_id: 'demo' user: 'ana' status: WAITING_APPROVAL turns { turn: 1 "
      "prompt: 'p' stage: CALLING decision { decision_id: 'd' } memories { memory_id: 'm' score: "
      "0.5 } }"));
  EXPECT_EQ(out.at("status"), "waiting_approval");
  const auto& turn = out.at("turns").at(0);
  EXPECT_EQ(turn.at("status"), "running");
  EXPECT_TRUE(turn.at("answer").is_null());
  EXPECT_TRUE(turn.at("usage").is_null());
  EXPECT_EQ(turn.at("memories"), json::parse(R"([{"memory_id":"m","score":0.5}])"));
  EXPECT_FALSE(turn.as_object().contains("error"));
  EXPECT_FALSE(out.contains("error"));
  EXPECT_FALSE(out.contains("forked_from"));
}

TEST(Views, AFailedAndForkedSessionSaysWhyAndWhence) {
  const auto out = views::session(message<v1::SessionState>(
      "session_id: 's' status: FAILED error { code: 'policy_denied' message: 'no' } forked_from: "
      "'o' forked_at: 7"));
  EXPECT_EQ(out.at("error"), json::parse(R"({"code":"policy_denied","message":"no"})"));
  EXPECT_EQ(out.at("forked_from"), json::parse(R"({"session_id":"o","at_sequence":7})"));
}

TEST(Views, AScoreIsShownToFourDecimals) {
  const auto out = views::decision(
      message<v1::PolicyDecision>("score: 0.69995 threshold: 0.7 allow: false reasons: 'r'"));
  EXPECT_EQ(out.at("score"), 0.7);    // shown
  EXPECT_EQ(out.at("allow"), false);  // decided by the unrounded one
  EXPECT_EQ(out.at("reason_codes"), json::array{});
}

TEST(Views, APayloadThatIsNoJsonIsShownAsItsText) {
  const auto out =
      views::recall("demo", "t",
                    message<v1::RecallResult>("memories { memory_id: 'a' text: 'plain' score: 2 } "
                                              "memories { memory_id: 'b' payload_json: "
                                              "'{\"task\":\"x\"}' score: 1 } memories { memory_id: "
                                              "'c' text: 'odd' payload_json: '{' }"));
  EXPECT_EQ(out.at("results").at(0).at("payload"), json::parse(R"({"text":"plain"})"));
  EXPECT_EQ(out.at("results").at(1).at("payload"), json::parse(R"({"task":"x"})"));
  EXPECT_EQ(out.at("results").at(2).at("payload"), json::parse(R"({"text":"odd"})"));
  EXPECT_EQ(out.at("memory").as_array().size(), 3u);
  EXPECT_FALSE(out.contains("degraded"));
}

TEST(Views, AnEventNamesItsCauseAndShowsItsDefaults) {
  const auto catalog = actors::standard_catalog();
  Host::HistoryEvent e;
  e.actor = {"demo", "session", "s", {}};
  e.event.set_sequence(3);
  e.event.set_type("policy.decided");
  e.event.set_payload(
      message<v1::SessionEvent>("policy_decided { turn: 1 decision { score: 0.5 } }")
          .SerializeAsString());
  e.context.set_command_id("demo:k");
  const auto out = views::event(*catalog, e);
  EXPECT_EQ(out.at("actor"), "demo/session/s");
  EXPECT_EQ(out.at("causation_id"), "demo:k");
  EXPECT_EQ(out.at("data").at("decision").at("allow"), false);
}

}  // namespace
}  // namespace soma::runtime
