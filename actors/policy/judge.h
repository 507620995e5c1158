// The whole judgement of an action: the policy's score, the constitution in force, the tenant's
// rules.
#pragma once

#include <string>

#include "actors/policy/rules.h"
#include "schemas/base/errors.h"
#include "soma/v1/policy.pb.h"

namespace soma::actors {

// As evaluate_policy, with the constitution's rules on top; each that speaks adds a reason code:
// constitution_missing (no constitution is in force: everything is refused), prohibited_action,
// risk_above_maximum, tool_category_not_permitted, human_approval_required. Then the policy rules
// (actors/policy/rules.h), whether it is denied by then or not. Both only ever make it stricter.
// `needs_approval`: parks until a person decides; `denied`: no person's approval would help.
Result<v1::PolicyDecision> judge(const v1::PolicyInput& input, const std::string& server_mode,
                                 const std::string& decision_id,
                                 const v1::ConstitutionInForce& constitution,
                                 const v1::PolicySettings& settings = {},
                                 const v1::RulesInForce& rules = {}, const Asker& asker = {});

}  // namespace soma::actors
