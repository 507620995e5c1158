// Score, threshold, reasons.
#include "actors/policy/policy.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace soma::actors {

namespace {

std::string text(const char* format, double value) {
  char out[64];
  std::snprintf(out, sizeof out, format, value);
  return out;
}

Status check_unit(double value, const char* name) {
  if (std::isfinite(value) && value >= 0 && value <= 1) return {};
  return fail(Code::kInvalidArgument, std::string(name) + " must be a number from 0 to 1",
              std::string("body.") + name);
}

Status check_amount(double value, const char* name) {
  if (std::isfinite(value) && value >= 0) return {};
  return fail(Code::kInvalidArgument, std::string(name) + " must be a number not below 0",
              std::string("body.") + name);
}

Status check(const v1::PolicyInput& input, const std::string& server_mode) {
  if (auto s = check_unit(input.risk_score(), "risk_score"); !s) return s;
  if (auto s = check_unit(input.confidence(), "confidence"); !s) return s;
  if (auto s = check_amount(input.budget_required(), "budget_required"); !s) return s;
  if (input.has_budget_remaining())
    if (auto s = check_amount(input.budget_remaining(), "budget_remaining"); !s) return s;
  if (!is_known_mode(server_mode) ||
      (!input.deployment_mode().empty() && !is_known_mode(input.deployment_mode())))
    return fail(Code::kInvalidArgument,
                "deployment_mode must be developer-light, developer-full, test, test-debug, "
                "production or production-debug",
                "body.deployment_mode");
  return {};
}

}  // namespace

PolicyWeights weights_of(const v1::PolicySettings& s) {
  PolicyWeights w;
  if (s.has_confidence_weight()) w.confidence = s.confidence_weight();
  if (s.has_risk_weight()) w.risk = s.risk_weight();
  if (s.has_cost_weight()) w.cost = s.cost_weight();
  if (s.has_human_penalty()) w.human_penalty = s.human_penalty();
  if (s.has_threshold()) w.threshold = s.threshold();
  if (s.has_production_threshold()) w.production_threshold = s.production_threshold();
  return w;
}

Status check_weights(const v1::PolicySettings& s) {
  const PolicyWeights w = weights_of(s);
  const std::pair<double, const char*> all[] = {{w.confidence, "confidence_weight"},
                                                {w.risk, "risk_weight"},
                                                {w.cost, "cost_weight"},
                                                {w.human_penalty, "human_penalty"},
                                                {w.threshold, "threshold"},
                                                {w.production_threshold, "production_threshold"}};
  for (const auto& [value, name] : all)
    if (!(value >= 0 && value <= 1))
      return fail(Code::kInvalidArgument,
                  std::string("policy.") + name + " must be a number from 0 to 1",
                  std::string("body.policy.") + name);
  if (w.production_threshold < w.threshold)
    return fail(Code::kInvalidArgument,
                "policy.production_threshold must not be below policy.threshold: production only "
                "asks for more",
                "body.policy.production_threshold");
  return {};
}

bool is_known_mode(const std::string& mode) {
  return mode == "developer-light" || mode == "developer-full" || mode == "test" ||
         mode == "test-debug" || is_production(mode);
}

bool is_production(const std::string& mode) {
  return mode == "production" || mode == "production-debug";
}

Result<v1::PolicyDecision> evaluate_policy(const v1::PolicyInput& input,
                                           const std::string& server_mode,
                                           const std::string& decision_id, const PolicyWeights& w) {
  if (auto checked = check(input, server_mode); !checked) return tl::unexpected(checked.error());
  const bool production = is_production(server_mode) || is_production(input.deployment_mode());
  const double ratio =
      input.has_budget_remaining() && input.budget_required() > 0
          ? std::min(1.0, input.budget_remaining() / std::max(input.budget_required(), 1e-9))
          : 1.0;
  const double confidence = w.confidence * input.confidence();
  const double risk = w.risk * (1 - input.risk_score());
  const double cost = w.cost * ratio;
  double score = (confidence + risk) + cost;
  if (input.requires_human()) score -= w.human_penalty;
  const double threshold = production ? w.production_threshold : w.threshold;
  const bool no_budget = production && input.budget_required() > 0 &&
                         input.has_budget_remaining() && input.budget_remaining() <= 0;

  v1::PolicyDecision d;
  d.set_decision_id(decision_id);
  *d.mutable_input() = input;
  d.set_score(score);
  d.set_threshold(threshold);
  d.set_allow(score >= threshold && !no_budget);
  d.add_reasons(text("confidence contribution: %.2f", confidence));
  d.add_reasons(text("risk contribution: %.2f", risk));
  d.add_reasons(text("cost contribution: %.2f", cost));
  if (input.requires_human()) d.add_reasons(text("human review penalty: %.2f", -w.human_penalty));
  d.add_reasons(text("threshold: %.2f", threshold));
  if (score < threshold) d.add_reason_codes("score_below_threshold");
  if (no_budget) d.add_reason_codes("budget_exhausted");
  if (input.requires_human()) d.add_reason_codes("human_review_requested");
  if (d.allow()) d.add_reason_codes("allowed");
  return d;
}

}  // namespace soma::actors
