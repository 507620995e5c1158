// One call of a model: which tool, with what, and whether it may be handed out.
#include <algorithm>
#include <cmath>
#include <set>

#include "actors/actor_type.h"
#include "actors/policy/judge.h"
#include "actors/session/tools.h"
#include "actors/session/turn.h"
#include "schemas/base/cut_text.h"
#include "schemas/base/sha256.h"
#include "schemas/json/json_check.h"

namespace soma::actors {

namespace {

constexpr std::size_t kMaxNameBytes = 64;
constexpr std::size_t kKeptName = 128;               // of a name that a model made up
constexpr std::size_t kMaxDecisionBytes = 8 * 1024;  // of one call; 32 of them fit into an entry

bool is_tool_name(const std::string& name) {
  return !name.empty() && name.size() <= kMaxNameBytes &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '_' || c == '-';
         });
}

const v1::ToolDefinition* find_tool(const v1::TurnTools& tools, const std::string& name) {
  for (const auto& tool : tools.tools())
    if (tool.tool().name() == name) return &tool;
  return nullptr;
}

// Why a call is refused whatever policy says; empty: it is not.
v1::Failure refusal(const v1::ToolDefinition* tool, const v1::ModelToolCall& asked,
                    std::uint32_t index, std::size_t used) {
  if (!tool) return failure("unknown_tool", "no tool of this name was offered");
  if (index >= static_cast<std::uint32_t>(kMaxCallsPerRound))
    return failure("too_many_calls", "at most " + std::to_string(kMaxCallsPerRound) +
                                         " calls may be asked for at once");
  if (asked.arguments().size() > kMaxArgumentBytes)
    return failure("arguments_too_large",
                   "the arguments are over " + std::to_string(kMaxArgumentBytes) + " bytes");
  if (!asked.arguments().empty() && !is_json_object(asked.arguments()))
    return failure("arguments_invalid", "the arguments are not a JSON object");
  if (used + asked.arguments().size() > kMaxTurnToolBytes)
    return failure("turn_too_large", "arguments and results of this turn would be over " +
                                         std::to_string(kMaxTurnToolBytes) + " bytes");
  return {};
}

v1::PolicyInput input_of(const v1::PolicyInput& asked, const v1::ToolDefinition* tool) {
  const std::string name = tool ? tool->tool().name() : "unknown";
  v1::PolicyInput input;
  input.set_action_id(tool ? name : "tool.unknown");
  input.set_capability("tool:" + name);
  input.set_risk_score(asked.risk_score());
  input.set_confidence(asked.confidence());
  input.set_deployment_mode(asked.deployment_mode());
  if (!tool) return input;
  if (tool->has_risk_score())
    input.set_risk_score(std::max(asked.risk_score(), tool->risk_score()));
  input.set_tool_category(tool->category());
  input.set_requires_human(tool->requires_human());
  return input;
}

// Many decisions stand in one entry; the rules' hash names what is left out.
void shorten(v1::PolicyDecision& d) {
  constexpr int kCodes = 32;
  if (d.ByteSizeLong() <= kMaxDecisionBytes) return;
  for (auto& rule : *d.mutable_matched_rules()) rule.clear_text();
  if (d.ByteSizeLong() <= kMaxDecisionBytes) return;
  d.clear_matched_rules();
  d.mutable_asker()->clear_capabilities();  // the turn keeps its principal
  auto* codes = d.mutable_reason_codes();
  if (codes->size() > kCodes) codes->DeleteSubrange(kCodes, codes->size() - kCodes);
  for (auto& code : *codes) code = cut_text(code, 128);
}

v1::PolicyDecision decide_call(const CallScope& scope, const v1::ToolDefinition* tool,
                               const std::string& decision_id, const v1::TenantSettings& settings,
                               const v1::RulesInForce& rules) {
  const v1::PolicyInput input = input_of(scope.asked, tool);
  auto judged =
      judge(input, settings.deployment_mode(), decision_id, scope.constitution, settings.policy(),
            rules, {scope.self.tenant, &scope.tools.principal(), scope.session, scope.model});
  v1::PolicyDecision d;
  if (judged) {
    d = std::move(*judged);
  } else {
    d.set_decision_id(decision_id);
    *d.mutable_input() = input;
    d.add_reasons(judged.error().message);
    refuse_call(d, "policy_error");
  }
  d.set_settings_version(settings.version());
  shorten(d);
  return d;
}

std::string codes_of(const v1::PolicyDecision& d) {
  std::string codes;
  for (const auto& code : d.reason_codes()) codes += (codes.empty() ? "" : ", ") + code;
  return cut_text(codes, 1024);
}

Status check_tool(const v1::ToolDefinition& t, const std::string& at) {
  const auto invalid = [](std::string message, const std::string& field) {
    return fail(Code::kInvalidArgument, field + " " + std::move(message), field);
  };
  if (!is_tool_name(t.tool().name()))
    return invalid("must be 1 to 64 letters, digits, _ or -", at + ".function.name");
  if (t.tool().description().size() > 4096)
    return invalid("is over 4096 bytes", at + ".function.description");
  if (!t.tool().parameters_json().empty() && !is_json_object(t.tool().parameters_json()))
    return invalid("must be a JSON object", at + ".function.parameters");
  if (t.category().size() > kMaxNameBytes) return invalid("is over 64 bytes", at + ".category");
  if (t.has_risk_score() && !(t.risk_score() >= 0 && t.risk_score() <= 1))
    return invalid("must be a number from 0 to 1", at + ".risk_score");
  return {};
}

}  // namespace

Status check_tools(const v1::TurnTools& tools) {
  if (tools.tools_size() > kMaxTools)
    return fail(Code::kInvalidArgument, "at most 32 tools may be named", "body.tools");
  std::size_t bytes = 0;
  std::set<std::string> names;
  for (int i = 0; i < tools.tools_size(); ++i) {
    const auto& t = tools.tools(i);
    const std::string at = "body.tools." + std::to_string(i);
    if (auto ok = check_tool(t, at); !ok) return ok;
    if (!names.insert(t.tool().name()).second)
      return fail(Code::kInvalidArgument, "tool " + t.tool().name() + " is named twice",
                  at + ".function.name");
    bytes += t.tool().name().size() + t.tool().description().size() +
             t.tool().parameters_json().size() + t.category().size();
  }
  if (bytes > kMaxToolBytes)
    return fail(Code::kInvalidArgument, "the tools take over 32768 bytes together", "body.tools");
  return {};
}

void refuse_call(v1::PolicyDecision& d, const std::string& code) {
  d.set_allow(false);
  d.set_needs_approval(false);
  d.set_denied(true);
  auto* codes = d.mutable_reason_codes();
  codes->erase(std::remove(codes->begin(), codes->end(), "allowed"), codes->end());
  d.add_reason_codes(code);
}

std::int64_t definition_bytes(const v1::TurnTools& tools) {
  constexpr std::size_t kPerTool = 100;  // names of members, quotes
  std::size_t bytes = 0;
  for (const auto& tool : tools.tools())
    bytes += tool.tool().name().size() + tool.tool().description().size() +
             tool.tool().parameters_json().size() + kPerTool;
  return static_cast<std::int64_t>(bytes);
}

JudgedCall judge_call(const CallScope& scope, const v1::ModelToolCall& asked, std::uint32_t index,
                      std::size_t used, const v1::Context& context) {
  const v1::ToolDefinition* tool = find_tool(scope.tools, asked.name());
  JudgedCall out;
  v1::ToolCall& call = out.call;
  // Under what the turn began with, or was approved or judged again under.
  out.decision = decide_call(scope, tool, derive_id(context, "dec", index), scope.tools.settings(),
                             scope.tools.rules());
  call.set_call_id(derive_id(context, "tool", index));
  call.set_name(cut_text(asked.name(), kKeptName));
  call.set_decision_id(out.decision.decision_id());
  const v1::Failure refused = refusal(tool, asked, index, used);
  if (asked.arguments().size() <= kMaxArgumentBytes &&
      used + asked.arguments().size() <= kMaxTurnToolBytes)
    call.set_arguments(asked.arguments().empty() ? "{}" : asked.arguments());
  if (!refused.code().empty()) {
    refuse_call(out.decision, refused.code());
    call.set_status(v1::CALL_DENIED);
    *call.mutable_denial() = refused;
  } else if (out.decision.needs_approval() && !out.decision.denied()) {
    call.set_status(v1::CALL_AWAITS_APPROVAL);
    call.set_approval_id(derive_id(context, "apr", index));
    call.set_action_hash(sha256_hex(to_string(scope.self) + "\n" + deterministic_bytes(call) +
                                    "\n" + deterministic_bytes(out.decision)));
  } else if (out.decision.allow()) {
    call.set_status(v1::CALL_REQUESTED);
  } else {
    call.set_status(v1::CALL_DENIED);
    *call.mutable_denial() =
        failure("policy_denied", "policy denied the call (" + codes_of(out.decision) +
                                     "); decision " + call.decision_id());
  }
  return out;
}

v1::PolicyDecision judge_call_again(const ActorKey& self, const v1::SessionState& s,
                                    const v1::Turn& turn, const v1::ToolCall& call,
                                    const v1::StartTerms& terms, const v1::Context& context) {
  return decide_call(
      {self, turn.tools(), turn.decision().input(), terms.constitution(), self.id, s.model()},
      find_tool(turn.tools(), call.name()), derive_id(context, "dec"), terms.settings(),
      terms.rules());
}

}  // namespace soma::actors
