// OpenAI's tools and tool_calls.
#include "runtime/effects/tool_calls.h"

#include <boost/json.hpp>

#include "runtime/effects/json_reading.h"
#include "schemas/json/json_read.h"

namespace soma::runtime {

namespace json = boost::json;

namespace {

// The call that a fragment is of, begun where it is the next one; null: neither.
v1::ModelToolCall* call_of(v1::ModelAnswer& answer, const json::value& delta) {
  const int known = answer.tool_calls_size();
  const auto* index = member(delta, "index");
  const std::string id = text_of(member(delta, "id"));
  int at = 0;
  if (index && !index->is_null()) {
    if (!index->is_int64() || index->get_int64() < 0 || index->get_int64() > known) return nullptr;
    at = static_cast<int>(index->get_int64());
  } else {
    at = id.empty() ? known - 1 : known;
  }
  if (at < 0 || at >= kMaxToolCalls) return nullptr;
  return at == known ? answer.add_tool_calls() : answer.mutable_tool_calls(at);
}

bool append_text(std::string* to, const json::value* text) {
  if (!text || text->is_null()) return true;
  if (!text->is_string()) return false;
  to->append(text->get_string());
  return true;
}

}  // namespace

std::size_t tool_call_bytes(const v1::ModelAnswer& answer) {
  std::size_t bytes = 0;
  for (const auto& c : answer.tool_calls())
    bytes += c.id().size() + c.name().size() + c.arguments().size();
  return bytes;
}

json::object message_json(const v1::ChatMessage& m) {
  json::object out{{"role", m.role()}, {"content", m.content()}};
  if (!m.tool_call_id().empty()) out["tool_call_id"] = m.tool_call_id();
  if (m.tool_calls().empty()) return out;
  if (m.content().empty()) out["content"] = nullptr;
  json::array calls;
  for (const auto& c : m.tool_calls())
    calls.push_back({{"id", c.id()},
                     {"type", "function"},
                     {"function", {{"name", c.name()}, {"arguments", c.arguments()}}}});
  out["tool_calls"] = std::move(calls);
  return out;
}

json::array tools_json(const v1::ModelRequest& request) {
  json::array out;
  for (const auto& t : request.tools()) {
    json::object function{{"name", t.name()}};
    if (!t.description().empty()) function["description"] = t.description();
    if (auto parameters = read_json_object(t.parameters_json()))
      function["parameters"] = std::move(*parameters);
    out.push_back({{"type", "function"}, {"function", std::move(function)}});
  }
  return out;
}

std::string take_tool_calls(v1::ModelAnswer& answer, const json::value& deltas) {
  if (!deltas.is_array()) return "tool_calls that are not a list";
  for (const auto& delta : deltas.get_array()) {
    auto* call = delta.is_object() ? call_of(answer, delta) : nullptr;
    if (!call)
      return "a malformed tool call, or more than " + std::to_string(kMaxToolCalls) + " of them";
    if (call->id().empty()) call->set_id(text_of(member(delta, "id")));
    const auto* function = member(delta, "function");
    if (function && !function->is_null() &&
        (!function->is_object() || !append_text(call->mutable_name(), member(*function, "name")) ||
         !append_text(call->mutable_arguments(), member(*function, "arguments"))))
      return "a malformed tool call";
    if (tool_call_bytes(answer) > kMaxToolCallBytes)
      return "tool calls of over " + std::to_string(kMaxToolCallBytes) + " bytes";
  }
  return {};
}

}  // namespace soma::runtime
