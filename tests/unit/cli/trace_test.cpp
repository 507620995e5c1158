// What the trace says of a decision: all under which it was made.
#include "tools/cli/trace.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

namespace soma::cli {
namespace {

namespace json = boost::json;

json::value decided(json::object decision) {
  return json::object{{"type", "policy.decided"},
                      {"sequence", 3},
                      {"data", json::object{{"turn", 1}, {"decision", std::move(decision)}}}};
}

TEST(Trace, NamesRulesSettingsAndConstitutionOfADecision) {
  const auto event =
      decided({{"decision_id", "dec_1"},
               {"allow", false},
               {"score", 0.5},
               {"threshold", 0.7},
               {"constitution_hash", "0123456789abcdef0123"},
               {"constitution_version", "7"},
               {"rules", json::array{"maximum_risk 0.05"}},
               {"settings_version", "12"},
               {"rules_number", "3"},
               {"rules_hash", "fedcba9876543210fedc"},
               {"matched_rules", json::array{json::object{{"id", "no-night"}, {"effect", "deny"}},
                                             json::object{{"id", "ask"}, {"effect", "review"}}}}});
  EXPECT_EQ(trace_ground(event),
            "constitution 0123456789ab version 7 (maximum_risk 0.05); settings version 12; policy "
            "rules 3 fedcba987654: matched no-night (deny), ask (review)");
  EXPECT_NE(trace_words(event).find("dec_1"), std::string::npos);
}

TEST(Trace, SaysThatThereAreNoRules) {
  EXPECT_EQ(trace_ground(decided({{"allow", true}, {"settings_version", 2}})),
            "constitution none; settings version 2; no policy rules");
  EXPECT_EQ(trace_ground(decided({{"rules_number", 1}, {"rules_hash", "ab"}})),
            "constitution none; settings version 0; policy rules 1 ab: none matched");
}

TEST(Trace, OtherEventsHaveNoGround) {
  EXPECT_EQ(trace_ground(json::object{{"type", "turn.started"}, {"data", {{"prompt", "hello"}}}}),
            "");
}

}  // namespace
}  // namespace soma::cli
