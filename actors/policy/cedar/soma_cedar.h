// The C interface of the rules engine (src/lib.rs). Only actors/policy/rules.cpp includes it.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

// UTF-8 with its size; borrowed for the call.
struct soma_rules_text {
  const unsigned char* data;
  std::size_t size;
};

// Amounts are whole tokens; the _e4 are ten-thousandths.
struct soma_rules_request {
  soma_rules_text action, capability, tenant, user, session, model, mode, tool_category;
  const soma_rules_text* capabilities;
  std::size_t capability_count;
  std::int64_t risk_e4, confidence_e4, score_e4, budget_required, budget_remaining;
  bool has_budget_remaining, requires_human;
};

// Each answer is strings one after another, each after its size (32 bits, little-endian), to be
// freed with soma_rules_free. Pure and thread-safe.
//
// Triples of line, column and message; nothing when the rules are valid.
soma_rules_text soma_rules_check(soma_rules_text rules);
// "ok" and the rules that can speak about `action`; or "invalid".
soma_rules_text soma_rules_slice(soma_rules_text rules, soma_rules_text action);
// "ok", then for each rule that speaks: "deny", "review" or "error", id, reason, text; or
// "invalid".
soma_rules_text soma_rules_judge(soma_rules_text rules, const soma_rules_request* request);
void soma_rules_free(soma_rules_text answer);
}
