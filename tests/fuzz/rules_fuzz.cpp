// Fuzzes policy rules: any text is refused with a place inside it, or compiles, travels in parts
// and judges.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "actors/actor_type.h"
#include "actors/policy/judge.h"

using namespace soma;
using namespace soma::actors;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto issues = check_rules(text);
  std::uint32_t lines = 1;
  for (char c : text) lines += c == '\n';
  for (const auto& i : issues)
    if (i.line < 1 || i.line > lines || i.column < 1 || i.column > size + 1 || i.message.empty())
      std::abort();
  v1::PolicyInput in;
  in.set_action_id("shell");
  in.set_capability("tool:use");
  in.set_risk_score(0.2);
  in.set_confidence(1);
  in.set_budget_required(7);
  v1::ConstitutionInForce constitution;
  constitution.set_hash("c");
  v1::RulesInForce rules;
  rules.set_text(text);
  const auto whole = judge(in, "test", "d", constitution, {}, rules).value();
  if (!issues.empty()) {
    if (!whole.denied() || whole.allow()) std::abort();  // what does not compile refuses
    return 0;
  }
  const auto about = rules_about(text, in.action_id());
  if (!about || !check_rules(*about).empty()) std::abort();
  rules.set_text(*about);
  const auto part = judge(in, "test", "d", constitution, {}, rules).value();
  if (deterministic_bytes(whole) != deterministic_bytes(part)) std::abort();
  return 0;
}
