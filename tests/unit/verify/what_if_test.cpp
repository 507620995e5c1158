// What a session's commands become under other rules.
#include "runtime/verify/what_if.h"

#include <gtest/gtest.h>

namespace soma::runtime {
namespace {

constexpr char kForbidTools[] =
    "@id(\"no-tools\") forbid(principal, action == Action::\"session.tool\", resource);";

Otherwise under_rules() {
  Otherwise otherwise;
  const auto ok = otherwise.set_policy({"rules.cedar", "--policy"}, std::string_view(kForbidTools));
  EXPECT_TRUE(ok) << ok.error().message;
  return otherwise;
}

// Each tool call is judged by all rules that a turn began with.
TEST(WhatIf, RulesHoldForTheToolsOfATurnToo) {
  v1::SessionCommand command;
  command.mutable_start_session()->mutable_policy()->set_action_id("session.turn");
  command.mutable_start_session()->mutable_tools()->add_tools();
  command.mutable_start_session()->mutable_tools()->mutable_rules()->set_text("as it was");
  command.mutable_start_session()->mutable_tools()->mutable_rules()->set_number(7);
  ASSERT_TRUE(under_rules().apply(command));
  const auto& rules = command.start_session().tools().rules();
  EXPECT_EQ(rules.text(), kForbidTools);
  EXPECT_EQ(rules.number(), 0u);
  EXPECT_NE(rules.hash(), "");
}

TEST(WhatIf, AnApprovalsTermsKeepTheRulesOfAllActions) {
  v1::SessionCommand command;
  command.mutable_approval_decided()->mutable_terms()->mutable_rules()->set_text("as it was");
  ASSERT_TRUE(under_rules().apply(command));
  EXPECT_EQ(command.approval_decided().terms().rules().text(), kForbidTools);
}

TEST(WhatIf, WithoutToolsNothingOfToolsIsMade) {
  v1::SessionCommand command;
  command.mutable_send_message()->set_content("hello");
  ASSERT_TRUE(under_rules().apply(command));
  EXPECT_FALSE(command.send_message().has_tools());
}

}  // namespace
}  // namespace soma::runtime
