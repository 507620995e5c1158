// What every governed request is judged under and asked of: the tenant's settings, the constitution
// and the policy rules in force, the models of its profile.
#pragma once

#include <functional>

#include "runtime/api/rulebook.h"
#include "runtime/api/submit.h"
#include "soma/v1/model.pb.h"
#include "soma/v1/policy.pb.h"

namespace soma::runtime::api {

struct Governance {
  v1::TenantSettings settings;
  v1::ConstitutionInForce constitution;
  v1::ModelPlan models;     // empty: the node's own
  Rulebook::InForce rules;  // see rules_for()
};

// The role of the tenant's profile that a chat is asked of: the body's `role` (chat, planning or
// code), chat when absent; empty where the body names a model. kInvalidArgument: another word, or
// both.
Result<std::string> chat_role(const http::Request& request);
http::Field role_field();  // of such a body

// Reads all, then `next`. `role`: of the tenant's default profile, whose models are asked ("chat",
// "embedding"; "planning" and "code" are asked of chat's where the profile has none); empty where
// the caller names a model. Refused with 403 constitution_missing where
// no constitution is in force: nothing runs ungoverned. kUnauthenticated where the token was issued
// under another one.
void read_governance(const Node& node, const RequestPtr& request, const std::string& role,
                     std::function<void(Result<Governance>)> next);
// The same, with the refusal answered.
void with_governance(const Node& node, const RequestPtr& request, const std::string& role,
                     const http::Responder& responder, std::function<void(Governance)> next);

}  // namespace soma::runtime::api
