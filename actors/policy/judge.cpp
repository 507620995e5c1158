// Score first, the constitution second, rules last; whatever refuses is named.
#include "actors/policy/judge.h"

#include <algorithm>
#include <cstdio>

#include "actors/policy/call_terms.h"
#include "actors/policy/policy.h"

namespace soma::actors {

namespace {

bool holds(const google::protobuf::RepeatedPtrField<std::string>& list, const std::string& text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

void deny(v1::PolicyDecision& d, const char* code) {
  d.set_denied(true);
  d.add_reason_codes(code);
}

std::string number(double value) {
  char out[32];
  std::snprintf(out, sizeof out, "%g", value);
  return out;
}

void apply_constitution(v1::PolicyDecision& d, const v1::PolicyInput& input,
                        const v1::ConstitutionRules& rules) {
  // A capability is what the action is done with: prohibiting either prohibits the action.
  for (const auto& name : {input.action_id(), input.capability()})
    if (holds(rules.prohibited_actions(), name)) {
      deny(d, "prohibited_action");
      d.add_rules("prohibited_actions names " + name);
      break;
    }
  if (rules.has_maximum_risk() && input.risk_score() > rules.maximum_risk()) {
    deny(d, "risk_above_maximum");
    d.add_rules("maximum_risk is " + number(rules.maximum_risk()) + ", the risk " +
                number(input.risk_score()));
  }
  if (rules.limits_tool_categories() && !input.tool_category().empty() &&
      !holds(rules.permitted_tool_categories(), input.tool_category())) {
    deny(d, "tool_category_not_permitted");
    d.add_rules("permitted_tool_categories does not name " + input.tool_category());
  }
  if (rules.has_human_approval_above_risk() &&
      input.risk_score() > rules.human_approval_above_risk()) {
    d.set_needs_approval(true);
    d.set_allow(false);  // until a person has approved
    d.add_reason_codes("human_approval_required");
    d.add_rules("human_approval_above_risk is " + number(rules.human_approval_above_risk()) +
                ", the risk " + number(input.risk_score()));
  }
}

}  // namespace

Result<v1::PolicyDecision> judge(const v1::PolicyInput& input, const std::string& server_mode,
                                 const std::string& decision_id,
                                 const v1::ConstitutionInForce& constitution,
                                 const v1::PolicySettings& settings, const v1::RulesInForce& rules,
                                 const Asker& asker) {
  const PolicyWeights weights = weights_of(settings);
  auto d = evaluate_policy(input, server_mode, decision_id, weights);
  if (!d) return d;
  // The penalty alone sends an action to review; what would fail without it too is refused.
  const double unpenalized = d->score() + (input.requires_human() ? weights.human_penalty : 0);
  if (unpenalized < d->threshold() || holds(d->reason_codes(), "budget_exhausted"))
    d->set_denied(true);
  if (input.requires_human()) d->set_needs_approval(true);
  if (settings.ByteSizeLong() > 0) *d->mutable_weights() = settings;
  d->set_constitution_hash(constitution.hash());
  d->set_constitution_version(constitution.version());
  if (constitution.hash().empty())
    deny(*d, "constitution_missing");
  else
    apply_constitution(*d, input, constitution.rules());
  d->set_mode(judged_mode(server_mode, input.deployment_mode()));
  if (asker.principal) {
    d->mutable_asker()->set_subject(asker.principal->subject());
    *d->mutable_asker()->mutable_capabilities() = asker.principal->capabilities();
    d->mutable_asker()->set_session(asker.session);
    d->mutable_asker()->set_model(asker.model);
  }
  apply_rules(*d, rules, asker, d->mode());
  if (d->denied()) {
    d->set_allow(false);
    d->set_needs_approval(false);
  }
  if (!d->allow()) {
    auto* codes = d->mutable_reason_codes();
    codes->erase(std::remove(codes->begin(), codes->end(), "allowed"), codes->end());
  }
  return d;
}

}  // namespace soma::actors
