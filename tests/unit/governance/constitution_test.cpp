// Constitution and judgement, given / when / then.
#include "actors/constitution/constitution.h"

#include <gtest/gtest.h>

#include "actors/actor_type.h"
#include "actors/policy/judge.h"
#include "schemas/base/sha256.h"

namespace soma::actors {
namespace {

v1::Context by(const std::string& subject, std::int64_t now_ms = 1000) {
  v1::Context c;
  c.set_now_ms(now_ms);
  c.set_command_id("acme:" + subject + std::to_string(now_ms));
  c.mutable_principal()->set_subject(subject);
  return c;
}

v1::ConstitutionCommand load(const std::string& version, std::int64_t issued_ms,
                             bool two_keys = false) {
  v1::ConstitutionCommand command;
  auto* c = command.mutable_load_constitution()->mutable_constitution();
  c->set_version(version);
  c->set_issued_ms(issued_ms);
  c->set_document("{\"v\":\"" + version + "\"}");
  c->set_hash(sha256_hex(c->document()));
  c->set_signature("checked before");
  command.mutable_load_constitution()->set_two_keys(two_keys);
  return command;
}

class ConstitutionTest : public testing::Test {
 protected:
  Result<ConstitutionDecider::Decided> when(const v1::ConstitutionCommand& command,
                                            const std::string& subject = "ada") {
    auto d = ConstitutionDecider::decide(self, state, command, by(subject, ++now));
    if (d)
      for (const auto& e : d->events) ConstitutionDecider::evolve(state, e);
    return d;
  }
  ActorKey self = constitution_key("acme");
  v1::ConstitutionState state;
  std::int64_t now = 1000;
};

TEST_F(ConstitutionTest, OneUpdateAVersionAndNoneForTheSame) {
  auto first = when(load("1", 10));
  ASSERT_TRUE(first);
  ASSERT_EQ(first->events.size(), 1u);
  EXPECT_EQ(ConstitutionDecider::event_type(first->events[0]), "constitution.updated");
  EXPECT_EQ(state.active().number(), 1u);
  EXPECT_TRUE(when(load("1", 10))->events.empty());
  ASSERT_TRUE(when(load("2", 10)));
  EXPECT_EQ(state.active().number(), 2u);
  EXPECT_EQ(state.past_size(), 2);
}

TEST_F(ConstitutionTest, ALoadMayNameWhatItReplaces) {
  const auto expecting = [](v1::ConstitutionCommand c, const std::string& tag) {
    c.mutable_load_constitution()->add_expected_tags(tag);
    return c;
  };
  EXPECT_EQ(when(expecting(load("1", 10), "1-abc")).error().code, Code::kVersionMismatch);
  ASSERT_TRUE(when(expecting(load("1", 10), version_tag(state.active()))));
  const std::string first = version_tag(state.active());
  EXPECT_EQ(first, "1-" + state.active().hash());
  ASSERT_TRUE(when(expecting(load("2", 20), first)));
  const auto stale = when(expecting(load("3", 30), first));
  EXPECT_EQ(stale.error().code, Code::kVersionMismatch);
  EXPECT_EQ(stale.error().field, "If-Match");
  EXPECT_EQ(state.active().number(), 2u);
  auto either = expecting(load("3", 30), first);
  ASSERT_TRUE(when(expecting(std::move(either), version_tag(state.active()))));
}

TEST_F(ConstitutionTest, ARefusedLoadLeavesTheOldOneInForce) {
  ASSERT_TRUE(when(load("2", 20)));
  const auto before = state.SerializeAsString();
  EXPECT_EQ(when(load("1", 10)).error().code, Code::kConflict);  // an old one does not come back
  auto same_name = load("2", 30);
  same_name.mutable_load_constitution()->mutable_constitution()->set_document("{}");
  same_name.mutable_load_constitution()->mutable_constitution()->set_hash(sha256_hex("{}"));
  EXPECT_EQ(when(same_name).error().code, Code::kConflict);
  auto forged = load("3", 30);
  forged.mutable_load_constitution()->mutable_constitution()->set_document("{}");
  EXPECT_EQ(when(forged).error().code, Code::kInvalidArgument);
  EXPECT_EQ(state.SerializeAsString(), before);
}

TEST_F(ConstitutionTest, WithTwoKeysNothingIsInForceBeforeTheSecond) {
  auto proposed = when(load("1", 10, true));
  ASSERT_TRUE(proposed);
  EXPECT_FALSE(state.has_active());
  ASSERT_EQ(proposed->sends.size(), 1u);
  EXPECT_EQ(proposed->sends[0].to.type, "approvals");
  EXPECT_EQ(when(load("2", 11, true)).error().code, Code::kConflict);
  v1::ConstitutionCommand wrong;
  wrong.mutable_approved()->set_approval_id("another");
  EXPECT_TRUE(when(wrong)->events.empty());
  v1::ConstitutionCommand approved;
  approved.mutable_approved()->set_approval_id(state.approval_id());
  approved.mutable_approved()->set_approved_by("grace");
  ASSERT_EQ(when(approved)->events.size(), 1u);
  EXPECT_EQ(state.active().version(), "1");
  EXPECT_FALSE(state.has_proposed());
  EXPECT_TRUE(when(approved)->events.empty());  // delivered again
}

TEST_F(ConstitutionTest, ARejectedProposalIsGone) {
  ASSERT_TRUE(when(load("1", 10)));
  ASSERT_TRUE(when(load("2", 11, true)));
  v1::ConstitutionCommand rejected;
  rejected.mutable_rejected()->set_approval_id(state.approval_id());
  ASSERT_EQ(when(rejected)->events.size(), 1u);
  EXPECT_EQ(state.active().version(), "1");
  EXPECT_TRUE(when(load("3", 12, true)));
}

v1::PolicyInput action(double risk = 0.1) {
  v1::PolicyInput input;
  input.set_action_id("pay");
  input.set_capability("bank:transfer");
  input.set_risk_score(risk);
  input.set_confidence(0.9);
  return input;
}

v1::PolicyDecision judged(const v1::PolicyInput& input, const v1::ConstitutionRules& rules,
                          const std::string& mode = "test") {
  v1::ConstitutionInForce c;
  c.set_hash("abc");
  *c.mutable_rules() = rules;
  return judge(input, mode, "dec_1", c).value();
}

bool says(const v1::PolicyDecision& d, const std::string& code) {
  for (const auto& c : d.reason_codes())
    if (c == code) return true;
  return false;
}

TEST(Judge, WithoutAConstitutionEverythingIsRefused) {
  const auto d = judge(action(), "test", "dec_1", {}).value();
  EXPECT_FALSE(d.allow());
  EXPECT_TRUE(d.denied());
  EXPECT_TRUE(says(d, "constitution_missing"));
  EXPECT_FALSE(says(d, "allowed"));
}

TEST(Judge, EachRuleRefusesAndIsNamed) {
  EXPECT_TRUE(judged(action(), {}).allow());
  v1::ConstitutionRules rules;
  rules.add_prohibited_actions("pay");
  EXPECT_TRUE(says(judged(action(), rules), "prohibited_action"));
  EXPECT_FALSE(judged(action(), rules).allow());
  rules.Clear();
  rules.add_prohibited_actions("bank:transfer");
  EXPECT_FALSE(judged(action(), rules).allow());
  rules.Clear();
  rules.set_maximum_risk(0.2);
  EXPECT_TRUE(judged(action(0.2), rules).allow());
  EXPECT_TRUE(says(judged(action(0.21), rules), "risk_above_maximum"));
  rules.Clear();
  rules.set_limits_tool_categories(true);
  EXPECT_TRUE(judged(action(), rules).allow()) << "not a tool";
  auto tool = action();
  tool.set_tool_category("shell");
  EXPECT_TRUE(says(judged(tool, rules), "tool_category_not_permitted"));
  rules.add_permitted_tool_categories("shell");
  EXPECT_TRUE(judged(tool, rules).allow());
}

TEST(Judge, APersonIsAskedWhereAPersonCanHelp) {
  v1::ConstitutionRules rules;
  rules.set_human_approval_above_risk(0.05);
  auto d = judged(action(), rules);
  EXPECT_TRUE(d.needs_approval());
  EXPECT_FALSE(d.allow());
  EXPECT_FALSE(d.denied());
  rules.add_prohibited_actions("pay");
  d = judged(action(), rules);
  EXPECT_FALSE(d.needs_approval()) << "no approval makes a prohibited action right";
  EXPECT_TRUE(d.denied());

  auto asks = action(0.2);
  asks.set_requires_human(true);  // 0.36 + 0.32 + 0.2 - 0.15 = 0.73 is below production's 0.8
  d = judged(asks, {}, "production");
  EXPECT_FALSE(d.allow());
  EXPECT_TRUE(d.needs_approval()) << "only the penalty keeps it below";
  asks.set_risk_score(1);
  EXPECT_TRUE(judged(asks, {}, "production").denied());
}

TEST(Judge, SaysWhichRuleSpokeAndUnderWhichVersion) {
  v1::ConstitutionInForce c;
  c.set_hash("h");
  c.set_version("2026-1");
  c.mutable_rules()->set_maximum_risk(0.05);
  c.mutable_rules()->add_prohibited_actions(action().action_id());
  const auto d = judge(action(), "test", "dec_1", c).value();
  EXPECT_EQ(d.constitution_version(), "2026-1");
  ASSERT_EQ(d.rules_size(), 2);
  EXPECT_EQ(d.rules(0), "prohibited_actions names " + action().action_id());
  EXPECT_TRUE(d.rules(1).starts_with("maximum_risk is 0.05, the risk ")) << d.rules(1);
}

TEST(Judge, WeightsAndThresholdsAreTheTenants) {
  v1::ConstitutionInForce c;
  c.set_hash("h");
  v1::PolicySettings settings;
  settings.set_threshold(0.99);
  settings.set_production_threshold(0.995);
  EXPECT_TRUE(judge(action(), "test", "dec_1", c).value().allow());
  const auto d = judge(action(), "test", "dec_1", c, settings).value();
  EXPECT_FALSE(d.allow());
  EXPECT_EQ(d.threshold(), 0.99);
  EXPECT_EQ(d.weights().threshold(), 0.99) << "recorded with the decision";
  EXPECT_EQ(judge(action(), "production", "dec_1", c, settings).value().threshold(), 0.995);
}

}  // namespace
}  // namespace soma::actors
