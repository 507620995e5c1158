// What every governed request is judged under: the tenant's settings and the constitution in force.
#pragma once

#include <functional>

#include "runtime/api/submit.h"
#include "soma/v1/policy.pb.h"

namespace soma::runtime::api {

struct Governance {
  v1::TenantSettings settings;
  v1::ConstitutionInForce constitution;
};

// Reads both, then `next`. Refused with 403 constitution_missing where no constitution is in force:
// nothing runs ungoverned. kUnauthenticated where the token was issued under another one.
void read_governance(const Node& node, const RequestPtr& request,
                     std::function<void(Result<Governance>)> next);
// The same, with the refusal answered.
void with_governance(const Node& node, const RequestPtr& request, const http::Responder& responder,
                     std::function<void(Governance)> next);

}  // namespace soma::runtime::api
