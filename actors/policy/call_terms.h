// What a model call was allowed under, as it travels with the call: looked at again when it is
// sent.
#pragma once

#include <string>

#include "soma/v1/policy.pb.h"

namespace soma::actors {

// Of the decision that allowed it. `tools`: what the model asks for will be judged as well.
v1::CallTerms call_terms(const v1::PolicyDecision& decision, const std::string& tenant, bool tools);

// The mode by which an action is judged where `in_force` is the server's or the tenant's and
// `wished` the caller's.
std::string judged_mode(const std::string& in_force, const std::string& wished);

}  // namespace soma::actors
