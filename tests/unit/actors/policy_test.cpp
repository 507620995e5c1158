// The arithmetic of a decision, to the last bit, and what is refused rather than guessed.
#include "actors/policy/policy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace soma::actors {
namespace {

v1::PolicyInput input(double risk, double confidence, double required = 0) {
  v1::PolicyInput in;
  in.set_action_id("a");
  in.set_capability("c");
  in.set_risk_score(risk);
  in.set_confidence(confidence);
  in.set_budget_required(required);
  return in;
}

v1::PolicyDecision decide(const v1::PolicyInput& in, const std::string& mode = "developer-light") {
  auto d = evaluate_policy(in, mode, "dec_1");
  EXPECT_TRUE(d) << d.error().message;
  return *d;
}

std::vector<std::string> list(const google::protobuf::RepeatedPtrField<std::string>& f) {
  return {f.begin(), f.end()};
}

TEST(Policy, ReasonsInTheirOrderAndForm) {
  auto in = input(0.25, 0.5, 100);
  in.set_budget_remaining(50);
  in.set_has_budget_remaining(true);
  in.set_requires_human(true);
  const auto d = decide(in);
  EXPECT_EQ(list(d.reasons()),
            (std::vector<std::string>{"confidence contribution: 0.20", "risk contribution: 0.30",
                                      "cost contribution: 0.10", "human review penalty: -0.15",
                                      "threshold: 0.70"}));
  EXPECT_EQ(d.score(), ((0.4 * 0.5 + 0.4 * 0.75) + 0.2 * 0.5) - 0.15);
  EXPECT_FALSE(d.allow());
  EXPECT_EQ(list(d.reason_codes()),
            (std::vector<std::string>{"score_below_threshold", "human_review_requested"}));
}

// Another order of the terms, or a fused multiply-add, gives other last bits for some inputs.
TEST(Policy, TermsAreAddedInTheContractsOrder) {
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> unit(0, 1);
  int other_order_differs = 0;
  for (int i = 0; i < 20000; ++i) {
    const double risk = unit(random), confidence = unit(random), remaining = unit(random);
    auto in = input(risk, confidence, 1);
    in.set_budget_remaining(remaining);
    in.set_has_budget_remaining(true);
    volatile double a = 0.4 * confidence;
    volatile double one_minus = 1 - risk;
    volatile double b = 0.4 * one_minus;
    volatile double ratio = std::min(1.0, remaining / std::max(1.0, 1e-9));
    volatile double c = 0.2 * ratio;
    volatile double ab = a + b;
    volatile double expected = ab + c;
    volatile double bc = b + c;
    volatile double other = a + bc;
    ASSERT_EQ(decide(in).score(), expected) << risk << " " << confidence << " " << remaining;
    other_order_differs += other != expected;
  }
  EXPECT_GT(other_order_differs, 100);  // else this test could not see the order
}

TEST(Policy, TheUnroundedScoreDecides) {
  const double risk = 0.25;
  const double confidence = (0.7 - 0.2 - 0.4 * 0.75) / 0.4;
  for (double c : {std::nextafter(confidence, 0.0), confidence, std::nextafter(confidence, 1.0)}) {
    const auto d = decide(input(risk, c));
    EXPECT_EQ(d.allow(), d.score() >= 0.7) << c;
  }
}

TEST(Policy, ProductionAsksForMore) {
  const auto in = input(0.2, 0.6);  // 0.76
  EXPECT_TRUE(decide(in, "test").allow());
  EXPECT_FALSE(decide(in, "production").allow());
  EXPECT_FALSE(decide(in, "production-debug").allow());
  EXPECT_EQ(decide(in, "production").reasons(3), "threshold: 0.80");
}

TEST(Policy, ACallersModeOnlyMakesItStricter) {
  auto in = input(0.2, 0.6);
  in.set_deployment_mode("production");
  EXPECT_FALSE(decide(in, "developer-light").allow());
  in.set_deployment_mode("developer-light");
  EXPECT_FALSE(decide(in, "production").allow());
}

TEST(Policy, NoBudgetInProductionIsDeniedWhateverTheScore) {
  auto in = input(0, 1, 10);
  in.set_has_budget_remaining(true);
  in.set_budget_remaining(0);
  EXPECT_FALSE(decide(in, "production").allow());
  EXPECT_EQ(decide(in, "production").reason_codes(0), "budget_exhausted");
  EXPECT_TRUE(decide(in, "test").allow());  // 0.8 of 0.7
  in.set_budget_required(0);
  EXPECT_TRUE(decide(in, "production").allow());
}

TEST(Policy, RatioIsOneWithoutARequirementOrARemainder) {
  EXPECT_EQ(decide(input(0.5, 0.5, 100)).reasons(2), "cost contribution: 0.20");
  auto in = input(0.5, 0.5, 0);
  in.set_has_budget_remaining(true);
  EXPECT_EQ(decide(in).reasons(2), "cost contribution: 0.20");
  in.set_budget_required(1);
  in.set_budget_remaining(5);
  EXPECT_EQ(decide(in).reasons(2), "cost contribution: 0.20");
}

TEST(Policy, NumbersOutOfRangeAreRefusedByName) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  const auto field = [](const v1::PolicyInput& in) {
    auto d = evaluate_policy(in, "test", "dec_1");
    return d ? std::string("allowed") : d.error().field;
  };
  for (double bad : {-0.1, 1.1, nan, infinity, -infinity}) {
    EXPECT_EQ(field(input(bad, 0.5)), "body.risk_score") << bad;
    EXPECT_EQ(field(input(0.5, bad)), "body.confidence") << bad;
  }
  for (double bad : {-1.0, nan, infinity}) {
    EXPECT_EQ(field(input(0, 0, bad)), "body.budget_required") << bad;
    auto in = input(0, 0, 1);
    in.set_has_budget_remaining(true);
    in.set_budget_remaining(bad);
    EXPECT_EQ(field(in), "body.budget_remaining") << bad;
  }
  auto in = input(0, 1);
  in.set_deployment_mode("staging");
  EXPECT_EQ(field(in), "body.deployment_mode");
  EXPECT_FALSE(evaluate_policy(input(0, 1), "", "dec_1"));  // an unknown server mode closes
}

}  // namespace
}  // namespace soma::actors
