// Protobuf states and events to contract JSON.
#include "runtime/api/views.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <cmath>

#include "actors/policy/policy.h"
#include "schemas/json/json_read.h"
#include "schemas/json/json_view.h"

namespace soma::runtime::views {

namespace json = boost::json;

std::string session_status(v1::SessionStatus status) {
  std::string name = v1::SessionStatus_Name(status);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return name;
}

json::object failure(const v1::Failure& f) {
  return {{"code", f.code()}, {"message", f.message()}};
}

namespace {

std::string turn_status(const v1::Turn& turn) {
  switch (turn.stage()) {
    case v1::DONE:
      return "completed";
    case v1::TURN_FAILED:
      return "failed";
    case v1::TURN_CANCELLED:
      return "cancelled";
    default:
      return "running";
  }
}

json::object usage(const v1::TokenUsage& u) {
  return {{"prompt_tokens", u.prompt_tokens()},
          {"completion_tokens", u.completion_tokens()},
          {"total_tokens", u.prompt_tokens() + u.completion_tokens()}};
}

const char* call_status(v1::ToolCallStatus status) {
  switch (status) {
    case v1::CALL_DENIED:
      return "denied";
    case v1::CALL_AWAITS_APPROVAL:
      return "waiting_approval";
    case v1::CALL_REQUESTED:
      return "requested";
    case v1::CALL_ANSWERED:
      return "answered";
    default:
      return "abandoned";
  }
}

json::object tool_call(const v1::ToolCall& c, int round) {
  json::object out{{"call_id", c.call_id()},
                   {"round", round},
                   {"name", c.name()},
                   {"arguments", c.arguments()},
                   {"status", call_status(c.status())},
                   {"decision_id", c.decision_id()}};
  if (!c.approval_id().empty()) out["approval_id"] = c.approval_id();
  if (!c.approved_by().empty()) out["approved_by"] = c.approved_by();
  if (c.has_denial()) out["error"] = failure(c.denial());
  if (c.status() == v1::CALL_ANSWERED) {
    out["output"] = c.output();
    out["is_error"] = c.is_error();
  }
  return out;
}

// Of every round, oldest first.
json::array tool_calls(const v1::Turn& t) {
  json::array out;
  for (int i = 0; i < t.tool_rounds_size(); ++i)
    for (const auto& call : t.tool_rounds(i).calls()) out.push_back(tool_call(call, i + 1));
  return out;
}

json::object turn(const v1::Turn& t) {
  json::array memories;
  for (const auto& m : t.memories())
    memories.push_back({{"memory_id", m.memory_id()}, {"score", m.score()}});
  json::object out{{"turn", t.turn()},
                   {"prompt", t.prompt()},
                   {"answer", t.answer().empty() ? json::value(nullptr) : json::value(t.answer())},
                   {"status", turn_status(t)},
                   {"decision_id", t.decision().decision_id()},
                   {"memories", std::move(memories)},
                   {"usage", t.has_usage() ? json::value(usage(t.usage())) : json::value(nullptr)}};
  if (t.has_error()) out["error"] = failure(t.error());
  if (t.tool_rounds_size() > 0) out["tool_calls"] = tool_calls(t);
  return out;
}

double shown(double score) { return std::round(score * 1e4) / 1e4; }

}  // namespace

json::array strings(const google::protobuf::RepeatedPtrField<std::string>& list) {
  json::array out;
  for (const auto& s : list) out.emplace_back(s);
  return out;
}

json::object session(const v1::SessionState& s) {
  json::array turns;
  std::string model = s.model();  // asked for, until one has answered
  json::array pending;
  for (const auto& t : s.turns()) {
    turns.push_back(turn(t));
    for (int i = 0; i < t.tool_rounds_size(); ++i)
      for (const auto& call : t.tool_rounds(i).calls())
        if (call.status() == v1::CALL_REQUESTED) pending.push_back(tool_call(call, i + 1));
    if (!t.model().empty())
      model = t.model();
    else if (!t.models().primary().empty())
      model = t.models().primary();  // by the tenant's profile, until one has answered
  }
  json::object metadata;
  for (const auto& [k, v] : s.metadata()) metadata[k] = v;
  json::object out{{"session_id", s.session_id()},
                   {"tenant_id", s.tenant_id()},
                   {"user", s.user()},
                   {"status", session_status(s.status())},
                   {"created_at", iso_time(s.created_ms())},
                   {"updated_at", iso_time(s.updated_ms())},
                   {"model", std::move(model)},
                   {"constitution_hash", s.constitution_hash()},
                   {"metadata", std::move(metadata)},
                   {"turns", std::move(turns)}};
  if (s.has_error()) out["error"] = failure(s.error());
  if (!pending.empty()) out["pending_tool_calls"] = std::move(pending);
  if (!s.forked_from().empty())
    out["forked_from"] =
        json::object{{"session_id", s.forked_from()}, {"at_sequence", s.forked_at()}};
  return out;
}

json::object decision(const v1::PolicyDecision& d) {
  json::object out{{"score", shown(d.score())},
                   {"allow", d.allow()},
                   {"threshold", d.threshold()},
                   {"reasons", strings(d.reasons())},
                   {"reason_codes", strings(d.reason_codes())},
                   {"constitution_hash", d.constitution_hash()},
                   {"decision_id", d.decision_id()}};
  if (!d.rules_hash().empty()) out["rules_hash"] = d.rules_hash();
  return out;
}

namespace {

json::object policy_weights(const v1::PolicySettings& s) {
  const auto w = actors::weights_of(s);
  return {{"confidence_weight", w.confidence},
          {"risk_weight", w.risk},
          {"cost_weight", w.cost},
          {"human_penalty", w.human_penalty},
          {"threshold", w.threshold},
          {"production_threshold", w.production_threshold}};
}

json::object rate_limits(const v1::RateLimits& limits) {
  const auto one = [](const v1::RateLimit& l) {
    return l.requests() == 0
               ? json::value(nullptr)
               : json::value(json::object{{"requests", l.requests()}, {"seconds", l.seconds()}});
  };
  return {{"tenant", one(limits.tenant())}, {"user", one(limits.user())}};
}

}  // namespace

json::object budget_rule(const v1::BudgetRule& r) {
  json::object out{{"scope", r.scope()},
                   {"unit", r.unit()},
                   {"hard", r.has_hard() ? json::value(r.hard()) : json::value(nullptr)},
                   {"soft", r.soft() > 0 ? json::value(r.soft()) : json::value(nullptr)},
                   {"window", r.window()}};
  if (!r.timezone().empty()) out["timezone"] = r.timezone();
  return out;
}

json::object settings(const std::string& tenant, const v1::TenantSettings& s) {
  json::array budgets;
  for (const auto& rule : s.budgets()) budgets.push_back(budget_rule(rule));
  return {{"tenant_id", tenant},
          {"display_name", s.display_name()},
          {"deployment_mode", s.deployment_mode()},
          {"budgets_tokens", s.budgets_tokens()},
          {"default_model_profile", s.default_model_profile()},
          {"policy", policy_weights(s.policy())},
          {"rate_limits", rate_limits(s.rate_limits())},
          {"budgets", std::move(budgets)},
          {"price_per_million_tokens", s.price_per_million_tokens()},
          {"version", s.version()},
          {"hash", s.hash()}};
}

json::object recall(const std::string& tenant, const std::string& trace_id,
                    const v1::RecallResult& result) {
  json::array results, memory;
  for (const auto& m : result.memories()) {
    json::value payload = read_json(m.payload_json()).value_or(nullptr);
    if (payload.is_null()) payload = json::object{{"text", m.text()}};
    results.push_back({{"memory_id", m.memory_id()},
                       {"score", m.score()},
                       {"payload", payload},
                       {"retriever", m.retriever()},
                       {"coord", m.coord()}});
    memory.push_back({{"score", m.score()}, {"payload", payload}});
  }
  json::object out{{"wm", json::array{}},
                   {"memory", std::move(memory)},
                   {"results", std::move(results)},
                   {"namespace", tenant},
                   {"trace_id", trace_id}};
  if (result.degraded()) {
    out["degraded"] = true;
    out["degraded_reason"] = result.degraded_reason();
  }
  return out;
}

json::object event(const actors::Catalog& catalog, const Host::HistoryEvent& e) {
  json::object data;
  if (const auto* type = catalog.find(e.actor.type)) {
    auto decoded = type->new_event();
    if (decoded->ParseFromString(e.event.payload())) data = event_data(*decoded);
  }
  const auto& c = e.context;
  return {{"event_id", e.event.event_id()},
          {"sequence", e.event.sequence()},
          {"type", e.event.type()},
          {"time", iso_time(c.now_ms())},
          {"position", to_string(e.position)},
          {"actor", to_string(e.actor)},
          {"principal", c.principal().subject()},
          {"causation_id", c.causation_id().empty() ? c.command_id() : c.causation_id()},
          {"correlation_id", c.correlation_id()},
          {"data", std::move(data)}};
}

}  // namespace soma::runtime::views
