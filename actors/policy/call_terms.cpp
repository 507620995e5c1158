// Read off the decision, so that the two cannot differ.
#include "actors/policy/call_terms.h"

#include "actors/policy/policy.h"

namespace soma::actors {

std::string judged_mode(const std::string& in_force, const std::string& wished) {
  return is_production(wished) && !is_production(in_force) ? wished : in_force;
}

v1::CallTerms call_terms(const v1::PolicyDecision& d, const std::string& tenant, bool tools) {
  v1::CallTerms t;
  t.set_constitution_hash(d.constitution_hash());
  t.set_rules_hash(d.rules_hash());
  t.set_settings_version(d.settings_version());
  t.set_mode(d.mode());
  t.set_mode_wished(d.input().deployment_mode());
  t.mutable_asker()->set_tenant(tenant);
  t.mutable_asker()->set_subject(d.asker().subject());
  *t.mutable_asker()->mutable_capabilities() = d.asker().capabilities();
  t.set_action(d.input().action_id());
  t.set_capability(d.input().capability());
  t.set_tools(tools);
  return t;
}

}  // namespace soma::actors
