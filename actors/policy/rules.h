// Policy rules: a tenant's own, in Cedar; they only make a decision stricter.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "soma/v1/common.pb.h"
#include "soma/v1/policy.pb.h"

namespace soma::actors {

inline constexpr std::size_t kMaxRulesBytes = std::size_t{256} * 1024;

struct RuleIssue {
  std::uint32_t line = 1, column = 1;  // from 1, in characters
  std::string message;
};
// Everything that is wrong with a text, at most 100; nothing when it is valid. An empty one is.
std::vector<RuleIssue> check_rules(const std::string& text);
std::string to_string(const RuleIssue& issue);  // "line 3, column 5: …"

// Of a text that is valid, those rules whose scope takes the action, in their order; nothing of one
// that is not.
std::optional<std::string> rules_about(const std::string& text, const std::string& action_id);

// Who acts, and on what; beside the input all that rules may ask about.
struct Asker {
  std::string tenant;
  const v1::Principal* principal = nullptr;
  std::string session;  // empty: not of a session
  std::string model;    // empty: the tenant's profile decides
};

// Puts the decision under the rules: each that speaks adds the reason code `rule:ID` and is kept
// with its text (the first 32); a forbid denies, one with @effect("review") asks for a person. What
// cannot be evaluated or compiled denies with `rule_error`. Never loosens. Pure: the same
// arguments, the same bytes.
void apply_rules(v1::PolicyDecision& decision, const v1::RulesInForce& rules, const Asker& asker,
                 const std::string& mode);

}  // namespace soma::actors
