// Policy: the arithmetic that allows or denies an action, exactly as the contract states it.
#pragma once

#include <string>

#include "schemas/base/errors.h"
#include "soma/v1/common.pb.h"
#include "soma/v1/policy.pb.h"

namespace soma::actors {

// Weights and thresholds; the contract's values unless configured.
struct PolicyWeights {
  double confidence = 0.4;
  double risk = 0.4;
  double cost = 0.2;
  double human_penalty = 0.15;
  double threshold = 0.7;
  double production_threshold = 0.8;
};

// The contract's values with those of `settings` that are set.
PolicyWeights weights_of(const v1::PolicySettings& settings);
// kInvalidArgument names the field of `policy` that is no number from 0 to 1.
Status check_weights(const v1::PolicySettings& settings);

// `server_mode` is the strictest mode that applies; the input's own mode may only make it stricter.
// kInvalidArgument names the field. IEEE doubles, in the contract's order of terms.
Result<v1::PolicyDecision> evaluate_policy(const v1::PolicyInput& input,
                                           const std::string& server_mode,
                                           const std::string& decision_id,
                                           const PolicyWeights& weights = {});

bool is_known_mode(const std::string& mode);
bool is_production(const std::string& mode);

}  // namespace soma::actors
