// Policy rules: what is refused at load, how they speak in a judgement, and that they only make it
// stricter.
#include "actors/rules/rules.h"

#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "actors/actor_type.h"
#include "actors/decision/decision.h"
#include "actors/policy/judge.h"
#include "schemas/base/sha256.h"
#include "soma/v1/approval.pb.h"
#include "tests/unit/actors/given.h"

namespace soma::actors {
namespace {

const char* const kNoShell =
    "@id(\"no-shell\")\n@reason(\"shells are for people\")\n"
    "forbid(principal, action == Action::\"shell\", resource);\n";
const char* const kReviewRisk =
    "@id(\"review-risk\") @effect(\"review\")\n"
    "forbid(principal, action, resource) when { context.risk_score.greaterThan(decimal(\"0.3\")) "
    "};\n";
const char* const kOverflow =
    "@id(\"overflow\")\nforbid(principal, action, resource)\n"
    "when { context.budget_required + 9223372036854775807 > 0 };\n";

std::string issues_of(const std::string& text) {
  std::string out;
  for (const auto& issue : check_rules(text)) out += to_string(issue) + "\n";
  return out;
}

v1::RulesInForce in_force(const std::string& text) {
  v1::RulesInForce rules;
  rules.set_number(3);
  rules.set_hash(sha256_hex(text));
  rules.set_text(text);
  return rules;
}

v1::ConstitutionInForce constitution() {
  v1::ConstitutionInForce c;
  c.set_hash("c");
  return c;
}

v1::PolicyInput input(const std::string& action, double risk = 0.1, double confidence = 1) {
  v1::PolicyInput in;
  in.set_action_id(action);
  in.set_capability("tool:use");
  in.set_risk_score(risk);
  in.set_confidence(confidence);
  return in;
}

v1::Principal ana() {
  v1::Principal p;
  p.set_subject("ana");
  p.set_tenant("acme");
  p.add_capabilities("tool:use");
  return p;
}

v1::PolicyDecision judged(const v1::PolicyInput& in, const std::string& text,
                          const std::string& mode = "test", const std::string& session = {}) {
  const v1::Principal who = ana();
  return judge(in, mode, "dec_1", constitution(), {}, in_force(text), {"acme", &who, session, "m1"})
      .value();
}

std::vector<std::string> codes(const v1::PolicyDecision& d) {
  return {d.reason_codes().begin(), d.reason_codes().end()};
}
using Codes = std::vector<std::string>;

TEST(Rules, WhatIsWrongIsToldWithItsPlace) {
  EXPECT_EQ(issues_of(""), "");
  EXPECT_EQ(issues_of(std::string(kNoShell) + kReviewRisk), "");
  EXPECT_NE(issues_of("@id(\"a\")\nforbid(principal, action, resource) when {").find("line 2, "),
            std::string::npos);
  const auto typo = issues_of(
      "// one\n@id(\"a\") forbid(principal, action, resource) when { \"ü\" == context.risk_scor "
      "};");
  EXPECT_NE(typo.find("line 2, column 60: "), std::string::npos) << typo;
  EXPECT_NE(typo.find("risk_score"), std::string::npos) << typo;
}

TEST(Rules, WhatWouldMeanNothingHereIsRefused) {
  const std::pair<const char*, const char*> refused[] = {
      {"permit(principal, action, resource);", "line 1, column 1: rules only make"},
      {"forbid(principal, action, resource);", "every rule needs @id"},
      {"@id(\"a b\") forbid(principal, action, resource);", "every rule needs @id"},
      {"@id(\"a\") @efect(\"deny\") forbid(principal, action, resource);", "unknown annotation"},
      {"@id(\"a\") @effect(\"allow\") forbid(principal, action, resource);", "@effect must be"},
      {"@id(\"a\") @reason(\"x\\ny\") forbid(principal, action, resource);", "@reason must be"},
      {"@id(\"a\") forbid(principal == ?principal, action, resource);", "templates"},
      {"@id(\"a\") forbid(principal, action, resource);\n@id(\"a\") forbid(principal, action, "
       "resource);",
       "line 2, column 1: two rules have the @id a"},
      {"@id(\"a\") forbid(principal, action, resource) when { context.risk_score > 1 };", "type"},
      {"@id(\"a\") forbid(principal, action, resource) when { context.budget_remaining < 1 };",
       "optional"},
      {"@id(\"a\") forbid(principal == Robot::\"r\", action, resource);", "Robot"},
  };
  for (const auto& [text, problem] : refused)
    EXPECT_NE(issues_of(text).find(problem), std::string::npos)
        << text << " -> " << issues_of(text);
  EXPECT_NE(issues_of(std::string(kMaxRulesBytes + 1, ' ')).find("256 KiB"), std::string::npos);
  EXPECT_NE(issues_of("\xff").find("UTF-8"), std::string::npos);
}

TEST(Rules, AForbidDeniesAndIsNamedWithItsText) {
  const auto d = judged(input("shell"), kNoShell);
  EXPECT_FALSE(d.allow());
  EXPECT_TRUE(d.denied());
  EXPECT_EQ(codes(d), Codes{"rule:no-shell"});
  EXPECT_EQ(d.reasons(d.reasons_size() - 2), "threshold: 0.70");  // the contract's come first
  EXPECT_EQ(d.reasons(d.reasons_size() - 1), "rule no-shell: shells are for people");
  EXPECT_EQ(d.rules_number(), 3u);
  EXPECT_EQ(d.rules_hash(), sha256_hex(kNoShell));
  ASSERT_EQ(d.matched_rules_size(), 1);
  EXPECT_EQ(d.matched_rules(0).effect(), "deny");
  EXPECT_NE(d.matched_rules(0).text().find("Action::\"shell\""), std::string::npos);

  const auto other = judged(input("search"), kNoShell);
  EXPECT_TRUE(other.allow());
  EXPECT_EQ(codes(other), Codes{"allowed"});
  EXPECT_EQ(other.rules_number(), 3u);  // also what no rule spoke about says which were in force
}

TEST(Rules, AReviewWaitsForAPersonUnlessItIsDeniedAnyway) {
  const auto d = judged(input("search", 0.4), kReviewRisk);
  EXPECT_FALSE(d.allow());
  EXPECT_TRUE(d.needs_approval());
  EXPECT_FALSE(d.denied());
  EXPECT_EQ(codes(d), Codes{"rule:review-risk"});

  const auto both = judged(input("shell", 0.4), std::string(kReviewRisk) + kNoShell);
  EXPECT_TRUE(both.denied());
  EXPECT_FALSE(both.needs_approval());
  EXPECT_EQ(codes(both), (Codes{"rule:review-risk", "rule:no-shell"}));  // in the order of the text

  const auto hopeless = judged(input("search", 1, 0), kReviewRisk);
  EXPECT_TRUE(hopeless.denied());
  EXPECT_FALSE(hopeless.needs_approval());
  EXPECT_EQ(codes(hopeless), (Codes{"score_below_threshold", "rule:review-risk"}));
}

TEST(Rules, WhatCannotBeEvaluatedDenies) {
  auto in = input("search");
  in.set_budget_required(5);
  const auto d = judged(in, kOverflow);
  EXPECT_TRUE(d.denied());
  EXPECT_EQ(codes(d), Codes{"rule_error"});
  ASSERT_EQ(d.matched_rules_size(), 1);
  EXPECT_EQ(d.matched_rules(0).id(), "overflow");
  EXPECT_EQ(d.matched_rules(0).effect(), "error");

  const auto stored = judged(input("search"), "forbid(principal,");  // never accepted, yet there
  EXPECT_TRUE(stored.denied());
  EXPECT_EQ(codes(stored), Codes{"rule_error"});
}

TEST(Rules, NumbersAreRoundedToTheStricterSide) {
  const auto risky = [](const char* bound) {
    return "@id(\"r\") forbid(principal, action, resource) when { "
           "context.risk_score.greaterThan(decimal(\"" +
           std::string(bound) + "\")) };";
  };
  EXPECT_TRUE(judged(input("a", 0.3), risky("0.3")).allow());
  EXPECT_FALSE(judged(input("a", 0.30004), risky("0.3")).allow());
  for (int i = 0; i <= 10000; ++i) {  // what is meant as ten-thousandths is not moved
    char bound[16];
    std::snprintf(bound, sizeof bound, "%d.%04d", i / 10000, i % 10000);
    if (i % 97 == 0) {
      EXPECT_EQ(codes(judged(input("a", i / 10000.0), risky(bound))).back() == "rule:r", false)
          << bound;
    }
  }
  const std::string sure =
      "@id(\"r\") forbid(principal, action, resource) when { "
      "context.confidence.lessThan(decimal(\"0.9\")) };";
  EXPECT_TRUE(judged(input("a", 0, 0.9), sure).allow());
  EXPECT_FALSE(judged(input("a", 0, 0.89996), sure).allow());
  auto dear = input("a", 0, 1);
  dear.set_budget_required(1e300);
  EXPECT_FALSE(
      judged(
          dear,
          "@id(\"r\") forbid(principal, action, resource) when { context.budget_required > 1000 };")
          .allow());
}

TEST(Rules, TheyMayAskForAllThatTheSchemaNames) {
  auto in = input("fetch", 0.1);
  in.set_tool_category("web");
  in.set_budget_required(10);
  in.set_budget_remaining(40);
  in.set_has_budget_remaining(true);
  const auto speaks = [&](const std::string& condition, const v1::PolicyInput& i,
                          const std::string& session = {}) {
    const std::string text =
        "@id(\"r\") forbid(principal, action, resource) when { " + condition + " };";
    EXPECT_EQ(issues_of(text), "");
    return !judged(i, text, "test", session).allow();
  };
  EXPECT_TRUE(speaks("principal == User::\"ana\" && principal.tenant == \"acme\"", in));
  EXPECT_TRUE(speaks("principal.capabilities.contains(\"tool:use\")", in));
  EXPECT_FALSE(speaks("principal.capabilities.contains(\"admin:write\")", in));
  EXPECT_TRUE(speaks("resource is Tool && resource.category == \"web\"", in));
  EXPECT_TRUE(speaks("resource is Tenant && resource == Tenant::\"acme\"", input("x")));
  EXPECT_TRUE(speaks("resource == Session::\"ses_1\"", input("x"), "ses_1"));
  EXPECT_TRUE(speaks("context has budget_remaining && context.budget_remaining < 50", in));
  EXPECT_FALSE(speaks("context has budget_remaining", input("x")));
  EXPECT_TRUE(speaks("context.model == \"m1\" && context.mode == \"test\"", in));
  EXPECT_TRUE(speaks("context.capability like \"tool:*\" && !context.requires_human", in));
  EXPECT_TRUE(speaks("context.score.lessThan(decimal(\"1.0\"))", in));
  EXPECT_TRUE(speaks("action == Action::\"fetch\"", in));
  EXPECT_FALSE(speaks("action == Action::\"other\"", in));
}

TEST(Rules, OnlyThoseOfTheActionTravelAndDecideTheSame) {
  std::string text = kReviewRisk;
  for (int i = 0; i < 50; ++i)
    text += "@id(\"r" + std::to_string(i) + "\") forbid(principal, action in [Action::\"a" +
            std::to_string(i) + "\", Action::\"b\"], resource) when { context.budget_required > " +
            std::to_string(i) + " };\n";
  ASSERT_EQ(issues_of(text), "");
  for (const char* action : {"a0", "a7", "b", "session.turn"}) {
    auto in = input(action, 0.4);
    in.set_budget_required(20);
    const auto about = rules_about(text, action);
    ASSERT_TRUE(about);
    EXPECT_LT(about->size(), text.size());
    EXPECT_EQ(issues_of(*about), "");
    auto whole = judged(in, text), part = judged(in, *about);
    EXPECT_EQ(codes(whole), codes(part)) << action;
  }
  EXPECT_EQ(codes(judged(input("b", 0.4), text)).size(), 1u);  // nothing required, nothing to say
  EXPECT_FALSE(rules_about("forbid(", "a"));
}

// What a rule asks first is looked at before Cedar is asked: as Cedar itself would answer.
TEST(Rules, ARuleThatIsPassedOverWouldNotHaveSpoken) {
  int spoke = 0, silent = 0;
  for (const char* attribute : {"risk_score", "confidence", "score"})
    for (const char* order : {"lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual"})
      for (const char* bound : {"0.5", "0.4999", "0.50", "-0.1", "1.0"}) {
        const std::string asks =
            "context." + std::string(attribute) + "." + order + "(decimal(\"" + bound + "\"))";
        const auto rule = [](const std::string& when) {
          return "@id(\"r\") forbid(principal, action, resource) when { " + when +
                 " && context.mode == \"test\" };";
        };
        for (double value : {0.0, 0.4999, 0.49991, 0.5, 0.50001, 1.0}) {
          const auto in = input("a", value, 1 - value);
          const auto first = codes(judged(in, rule(asks)));
          EXPECT_EQ(first, codes(judged(in, rule("true && " + asks)))) << asks << " " << value;
          ++(first.back() == "rule:r" ? spoke : silent);
        }
      }
  EXPECT_GT(spoke, 100);
  EXPECT_GT(silent, 100);
}

TEST(Rules, TheSameInputsGiveTheSameBytesOnAnyThread) {
  auto in = input("shell", 0.4);
  const std::string text = std::string(kReviewRisk) + kNoShell + kOverflow;
  const std::string once = deterministic_bytes(judged(in, text));
  std::vector<std::thread> threads;
  std::array<int, 4> other{};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        // Others compile meanwhile, so that the memo is written to, and full of strangers.
        check_rules("@id(\"t" + std::to_string(t * 1000 + i) +
                    "\") forbid(principal, action, resource);");
        other[t] += deterministic_bytes(judged(in, text)) != once;
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(other, (std::array<int, 4>{}));
}

// Whatever the rules say: never allowed where it would be refused without them, never without a
// person where one is needed.
TEST(Rules, NothingTheySayLoosens) {
  std::mt19937_64 random(11);
  std::uniform_real_distribution<double> unit(0, 1);
  const std::string sets[] = {kNoShell, kReviewRisk, kOverflow, std::string(kReviewRisk) + kNoShell,
                              "forbid("};
  v1::ConstitutionInForce c = constitution();
  c.mutable_rules()->set_maximum_risk(0.8);
  c.mutable_rules()->set_human_approval_above_risk(0.5);
  int stricter = 0;
  for (int i = 0; i < 3000; ++i) {
    auto in = input(i % 2 ? "shell" : "search", unit(random), unit(random));
    in.set_requires_human(i % 7 == 0);
    const auto without = judge(in, "test", "d", c).value();
    const auto with = judge(in, "test", "d", c, {}, in_force(sets[i % 5]), {}).value();
    EXPECT_FALSE(with.allow() && !without.allow());
    EXPECT_FALSE(without.denied() && !with.denied());
    EXPECT_FALSE(without.needs_approval() && !with.needs_approval() && !with.denied());
    stricter += without.allow() && !with.allow();
  }
  EXPECT_GT(stricter, 100);
}

TEST(RulesActor, VersionsOnlyOfTextsThatCompile) {
  Given<RulesDecider> rules(rules_key("acme"));
  v1::RulesCommand load;
  load.mutable_load_rules()->set_text(kNoShell);
  rules.when(load).then({"rules.updated"});
  EXPECT_EQ(rules.state().active().version(), 1u);
  EXPECT_EQ(rules.state().active().loaded_by(), "ana");
  rules.when(load).then({});  // the same text is no version
  EXPECT_FALSE(rules.reply().changed());

  load.mutable_load_rules()->set_text("@id(\"a\")\nforbid(principal action, resource);");
  rules.when(load).refused(Code::kInvalidArgument, "body.rules");
  EXPECT_EQ(rules.state().active().text(), kNoShell);

  load.mutable_load_rules()->set_text(kReviewRisk);
  load.mutable_load_rules()->add_expected_tags("7-" + sha256_hex(kNoShell));
  rules.when(load).refused(Code::kVersionMismatch);
  load.mutable_load_rules()->add_expected_tags("1-" + sha256_hex(kNoShell));
  rules.when(load).then({"rules.updated"});
  EXPECT_EQ(rules.state().active().version(), 2u);
  EXPECT_EQ(rules.state().past_size(), 2);

  v1::RulesCommand none;
  none.mutable_load_rules();
  rules.when(none).then({"rules.updated"});  // none of its own, and said so
  EXPECT_EQ(rules.state().active().text(), "");
}

TEST(RulesActor, WithTwoKeysTheOldOnesHoldUntilTheSecond) {
  Given<RulesDecider> rules(rules_key("acme"));
  v1::RulesCommand load;
  load.mutable_load_rules()->set_text(kNoShell);
  load.mutable_load_rules()->set_two_keys(true);
  rules.when(load).then({"rules.proposed"});
  EXPECT_FALSE(rules.state().has_active());
  ASSERT_EQ(rules.sends().size(), 1u);
  EXPECT_EQ(rules.sends()[0].to.type, "approvals");
  const std::string id = rules.reply().approval_id();

  v1::RulesCommand other;
  other.mutable_load_rules()->set_text(kReviewRisk);
  other.mutable_load_rules()->set_two_keys(true);
  rules.when(other).refused(Code::kConflict);
  rules.when("approved { approval_id: \"another\" approved_by: \"bob\" }").then({});
  EXPECT_FALSE(rules.state().has_active());
  rules.when("rejected { approval_id: \"" + id + "\" rejected_by: \"bob\" }")
      .then({"rules.withdrawn"});
  rules.when(load).then({"rules.proposed"});
  rules
      .when("approved { approval_id: \"" + rules.reply().approval_id() +
            "\" approved_by: \"bob\" }")
      .then({"rules.updated"});
  EXPECT_EQ(rules.state().active().text(), kNoShell);
}

TEST(RulesActor, ADecisionIsMadeUnderTheVersionThatCameWithIt) {
  const auto decide = [](const std::string& id, const std::string& text, std::uint64_t number) {
    Given<DecisionDecider> decision(decision_key("acme", id));
    v1::DecisionCommand c;
    auto* d = c.mutable_decide_policy();
    *d->mutable_input() = input("shell");
    d->set_mode("test");
    *d->mutable_constitution() = constitution();
    *d->mutable_rules() = in_force(text);
    d->mutable_rules()->set_number(number);
    decision.when(c).then({"policy.evaluated"});
    return decision.state().decision();
  };
  EXPECT_TRUE(decide("dec_1", "", 1).allow());
  const auto denied = decide("dec_2", kNoShell, 2);
  EXPECT_FALSE(denied.allow());
  EXPECT_EQ(denied.rules_number(), 2u);
  EXPECT_TRUE(decide("dec_3", kReviewRisk, 3).allow());  // and the old ones are gone
}

}  // namespace
}  // namespace soma::actors
