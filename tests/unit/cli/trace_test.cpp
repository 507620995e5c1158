// What the trace says of a decision: all under which it was made.
#include "tools/cli/trace.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "tools/cli/trace_frames.h"

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

json::value frame(const char* position, const char* time, const char* command_id) {
  return json::object{{"position", position},
                      {"time", time},
                      {"entries", json::array{json::object{{"command_id", command_id}}}}};
}

// Within one millisecond, or with clocks that differ, time does not tell what led to what.
TEST(Trace, CausesStandBeforeWhatTheyLedTo) {
  const json::array sorted = causes_first({frame("3/1", "10", "t:a"), frame("3/2", "11", "t:a>0>0"),
                                           frame("3/3", "12", "effect:b"),
                                           frame("0/7", "13", "t:a>0"), frame("0/8", "14", "c")});
  std::vector<std::string> positions;
  for (const auto& f : sorted) positions.emplace_back(f.at("position").as_string());
  EXPECT_EQ(positions, (std::vector<std::string>{"3/1", "0/7", "3/2", "3/3", "0/8"}));
  EXPECT_EQ(causes_first({frame("1/1", "2", "x>0>0"), frame("0/1", "3", "x>0>0>0")}).size(), 2u);
}

}  // namespace
}  // namespace soma::cli
