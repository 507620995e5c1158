// The JSON view: numbers as numbers, defaults shown, secrets not.
#include "schemas/json/json_view.h"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "soma/v1/counter.pb.h"
#include "soma/v1/frame.pb.h"
#include "soma/v1/memory.pb.h"
#include "soma/v1/session.pb.h"

namespace soma {
namespace {

namespace json = boost::json;

TEST(JsonView, IntegersAreNumbers) {
  v1::TokenUsage usage;
  usage.set_prompt_tokens(47);
  EXPECT_EQ(json_of(usage), json::parse(R"({"prompt_tokens":47,"completion_tokens":0,
                                            "estimated":false})"));
}

TEST(JsonView, IntegersThatJsonWouldRoundAreStrings) {
  v1::CounterState s;
  s.set_value((1LL << 53) + 1);
  EXPECT_EQ(json_of(s)["value"], "9007199254740993");
  s.set_value(-(1LL << 53));
  EXPECT_EQ(json_of(s)["value"], -9007199254740992);
}

TEST(JsonView, DenialIsVisible) {
  v1::SessionEvent e;
  e.mutable_policy_decided()->set_turn(1);
  e.mutable_policy_decided()->mutable_decision()->set_score(0.5);
  const auto data = event_data(e);
  EXPECT_EQ(data.at("turn"), 1);
  EXPECT_EQ(data.at("decision").at("allow"), false);
  EXPECT_EQ(data.at("decision").at("reasons"), json::array{});
  EXPECT_FALSE(data.at("decision").as_object().contains("input"));  // an unset message
}

TEST(JsonView, MapsEnumsAndBytes) {
  v1::SessionState s;
  s.set_status(v1::WAITING_APPROVAL);
  (*s.mutable_metadata())["k"] = "v";
  const auto out = json_of(s);
  EXPECT_EQ(out.at("status"), "WAITING_APPROVAL");
  EXPECT_EQ(out.at("metadata"), (json::object{{"k", "v"}}));
  v1::Frame f;
  for (const auto& [bytes, text] : std::initializer_list<std::pair<const char*, const char*>>{
           {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}}) {
    f.set_previous_hash(bytes);
    EXPECT_EQ(json_of(f).at("previous_hash"), text);
  }
}

TEST(JsonView, FloatsAreTheirShortestText) {
  v1::Embedding e;
  e.add_values(0.1f);
  EXPECT_EQ(json::serialize(json_of(e).at("values")), "[1E-1]");
}

TEST(JsonView, NotFiniteIsNull) {
  v1::PolicyInput p;
  p.set_risk_score(std::numeric_limits<double>::quiet_NaN());
  EXPECT_TRUE(json_of(p).at("risk_score").is_null());
}

TEST(JsonView, OneofShowsItsCaseOnly) {
  v1::EffectOutcome o;
  o.set_unknown("");
  const auto out = json_of(o);
  EXPECT_EQ(out.at("unknown"), "");
  EXPECT_FALSE(out.contains("result"));
  EXPECT_TRUE(event_data(v1::SessionEvent{}).empty());
}

}  // namespace
}  // namespace soma
