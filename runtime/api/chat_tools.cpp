// Nothing of a call that was denied is shown but its name and why.
#include "runtime/api/chat_tools.h"

#include <algorithm>
#include <boost/json/array.hpp>

#include "actors/session/tools.h"
#include "schemas/json/json_text.h"

namespace soma::runtime::api {

namespace json = boost::json;

namespace {

constexpr std::size_t kMaxCalls = 32;     // of one message
constexpr std::size_t kMaxIdBytes = 256;  // of a call

Status invalid(std::string message, std::string field) {
  return fail(Code::kInvalidArgument, std::move(message), std::move(field));
}

const json::array* tools_of(const json::object& body) {
  const auto* tools = body.if_contains("tools");
  return tools && tools->is_array() && !tools->get_array().empty() ? &tools->get_array() : nullptr;
}

std::string choice_word(const json::object& body) {
  const auto* wish = body.if_contains("tool_choice");
  if (!wish || wish->is_null()) return "";
  return wish->is_string() ? std::string(wish->get_string()) : "named";
}

// The function that {"type": "function", "function": {"name": …}} names; empty: it is no such
// thing.
std::string named_function(const json::value& wish) {
  if (!wish.is_object() || text_member(wish, "type") != "function") return {};
  const auto* function = wish.get_object().if_contains("function");
  return function && function->is_object() ? text_member(*function, "name") : std::string();
}

bool is_offered(const json::array& tools, const std::string& name) {
  return std::any_of(tools.begin(), tools.end(), [&](const json::value& tool) {
    const auto* function = tool.is_object() ? tool.get_object().if_contains("function") : nullptr;
    return function && function->is_object() && text_member(*function, "name") == name;
  });
}

Status read_calls(const json::array& calls, const std::string& at, v1::ChatMessage& out) {
  if (calls.size() > kMaxCalls) return invalid("at most 32 calls", at);
  for (std::size_t i = 0; i < calls.size(); ++i) {
    const std::string here = at + "." + std::to_string(i);
    if (!calls[i].is_object()) return invalid("must be an object", here);
    const auto& call = calls[i].get_object();
    const auto* function = call.if_contains("function");
    const std::string id = text_member(call, "id");
    if (id.empty() || id.size() > kMaxIdBytes)
      return invalid("must be a text of 1 to 256 bytes", here + ".id");
    if (!function || !function->is_object())
      return invalid("must be an object with name and arguments", here + ".function");
    auto* c = out.add_tool_calls();
    c->set_id(id);
    c->set_name(text_member(*function, "name"));
    c->set_arguments(text_member(*function, "arguments"));
    if (c->name().empty()) return invalid("must not be empty", here + ".function.name");
    if (c->arguments().size() > actors::kMaxArgumentBytes)
      return invalid("is over 16384 bytes", here + ".function.arguments");
  }
  return {};
}

bool asked_before(const v1::ModelRequest& before, const std::string& id) {
  return std::any_of(before.messages().begin(), before.messages().end(), [&](const auto& m) {
    return std::any_of(m.tool_calls().begin(), m.tool_calls().end(),
                       [&](const auto& call) { return call.id() == id; });
  });
}

bool any_handed_out(const v1::InferenceState& s) {
  return std::any_of(s.tool_calls().begin(), s.tool_calls().end(),
                     [](const auto& call) { return call.status() == v1::CALL_REQUESTED; });
}

}  // namespace

bool offers_tools(const json::object& body) {
  return tools_of(body) != nullptr && choice_word(body) != "none";
}

Status read_tool_wishes(const json::object& body, v1::ModelRequest& request) {
  const auto* tools = tools_of(body);
  const std::string wish = choice_word(body);
  if (!tools && !wish.empty() && wish != "none")
    return invalid("no tools are named; leave tool_choice out or give \"none\"",
                   "body.tool_choice");
  if (!offers_tools(body)) return {};
  if (const auto* parallel = body.if_contains("parallel_tool_calls");
      parallel && !parallel->is_null()) {
    if (!parallel->is_bool()) return invalid("must be true or false", "body.parallel_tool_calls");
    request.set_parallel_tool_calls(parallel->get_bool());
  }
  if (wish.empty()) return {};
  const json::value& choice = body.at("tool_choice");
  if (wish == "named") {
    const std::string name = named_function(choice);
    if (!is_offered(*tools, name))
      return invalid(
          "must be none, auto, required, or {type: function, function: {name}} of one of "
          "the tools",
          "body.tool_choice");
    request.set_tool_choice(
        json_text(json::object{{"type", "function"}, {"function", json::object{{"name", name}}}}));
    return {};
  }
  if (wish != "auto" && wish != "required")
    return invalid("must be none, auto, required or one of the tools", "body.tool_choice");
  request.set_tool_choice("\"" + wish + "\"");
  return {};
}

Status read_tool_message(const json::object& message, const std::string& at,
                         const v1::ModelRequest& before, v1::ChatMessage& out) {
  if (const auto* calls = message.if_contains("tool_calls"); calls && !calls->is_null()) {
    if (out.role() != "assistant" || !calls->is_array())
      return invalid("must be a list, of an assistant's message", at + ".tool_calls");
    if (auto ok = read_calls(calls->get_array(), at + ".tool_calls", out); !ok) return ok;
  }
  if (out.role() != "tool") return {};
  const std::string id = text_member(message, "tool_call_id");
  if (!asked_before(before, id))
    return invalid("must be the id of a call in a message before", at + ".tool_call_id");
  if (out.content().size() > actors::kMaxResultBytes)
    return invalid("is over 32768 bytes", at + ".content");
  out.set_tool_call_id(id);
  return {};
}

json::array handed_out(const v1::InferenceState& s, bool indexed) {
  json::array out;
  for (const auto& call : s.tool_calls()) {
    if (call.status() != v1::CALL_REQUESTED) continue;
    json::object one{{"id", call.call_id()},
                     {"type", "function"},
                     {"function", {{"name", call.name()}, {"arguments", call.arguments()}}}};
    if (indexed) one["index"] = out.size();
    out.push_back(std::move(one));
  }
  return out;
}

json::object denied_calls(const v1::InferenceState& s) {
  json::array denied;
  std::string refusal;
  for (const auto& call : s.tool_calls()) {
    if (call.status() == v1::CALL_REQUESTED) continue;
    refusal += (refusal.empty() ? "" : "; ") + call.name() + ": " + call.denial().message();
    denied.push_back({{"name", call.name()},
                      {"code", call.denial().code()},
                      {"message", call.denial().message()},
                      {"decision_id", call.decision_id()}});
  }
  if (denied.empty()) return {};
  return {{"refusal", refusal}, {"denied_tool_calls", std::move(denied)}};
}

std::string finish_reason(const v1::InferenceState& s) {
  if (s.tool_calls().empty()) return s.answer().finish_reason();
  return any_handed_out(s) ? "tool_calls" : "content_filter";
}

}  // namespace soma::runtime::api
