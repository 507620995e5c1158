// Tools in, results in.
#include "runtime/api/session_tools.h"

#include <boost/json/array.hpp>

#include "actors/session/tools.h"
#include "runtime/api/views.h"
#include "schemas/json/json_text.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::FieldType;
using http::Responder;

namespace {

v1::ToolDefinition definition(const json::object& tool) {
  v1::ToolDefinition out;
  if (const auto* function = tool.if_contains("function"); function && function->is_object()) {
    out.mutable_tool()->set_name(text_member(*function, "name"));
    out.mutable_tool()->set_description(text_member(*function, "description"));
    if (const auto* p = function->get_object().if_contains("parameters"); p && p->is_object())
      out.mutable_tool()->set_parameters_json(json_text(*p));
  }
  out.set_category(text_member(tool, "category"));
  if (const auto* risk = tool.if_contains("risk_score"); risk && risk->is_number())
    out.set_risk_score(risk->to_number<double>());
  if (const auto* person = tool.if_contains("requires_human"); person && person->is_bool())
    out.set_requires_human(person->get_bool());
  return out;
}

void submit_result(const Node& node, const RequestPtr& r, const Responder& responder) {
  v1::SessionCommand command;
  auto* c = command.mutable_submit_tool_result();
  c->set_call_id(r->param("call_id"));
  c->set_output(text_member(r->json, "output"));
  if (const auto* bad = r->json.get_object().if_contains("is_error"); bad && bad->is_bool())
    c->set_is_error(bad->get_bool());
  submit(
      node, r, responder,
      make_submission(*r, {r->tenant(), "session", r->param("id"), {}}, command, command_id_of(*r)),
      [r](const Accepted& accepted) {
        v1::SessionReply reply;
        reply.ParseFromString(accepted.reply);
        return http::json_response(202,
                                   json::object{{"session_id", reply.session_id()},
                                                {"call_id", r->param("call_id")},
                                                {"turn", reply.turn()},
                                                {"status", views::session_status(reply.status())}});
      });
}

}  // namespace

http::Field tools_field() {
  static const auto function = http::make_schema(
      "ToolFunction",
      {{.name = "name", .required = true, .min_length = 1, .max_length = 64},
       {.name = "description", .max_length = 4096},
       {.name = "parameters", .type = FieldType::kObject, .description = "JSON Schema"}});
  static const auto tool = http::make_schema(
      "SessionTool",
      {{.name = "type", .required = true, .one_of = {"function"}},
       {.name = "function", .type = FieldType::kObject, .required = true, .schema = function},
       {.name = "category",
        .description = "For the constitution's permitted_tool_categories",
        .max_length = 64},
       {.name = "risk_score",
        .type = FieldType::kNumber,
        .description = "The higher of this and the turn's applies",
        .min = 0,
        .max = 1},
       {.name = "requires_human",
        .type = FieldType::kBool,
        .description = "A second person approves each call"}});
  return {.name = "tools",
          .type = FieldType::kArray,
          .description = "Tools the model may ask for in this turn; at most 32 KiB together",
          .max_length = actors::kMaxTools,
          .items = FieldType::kObject,
          .schema = tool};
}

v1::TurnTools tools_of(const http::Request& request, const Governance& governance) {
  v1::TurnTools out;
  const auto* tools = request.json.get_object().if_contains("tools");
  if (!tools || !tools->is_array()) return out;
  for (const auto& tool : tools->get_array())
    if (tool.is_object()) *out.add_tools() = definition(tool.get_object());
  if (!out.tools().empty() && governance.rules.rules)
    *out.mutable_rules() = all_rules(governance.rules);
  return out;
}

void register_session_tools(http::Router& router, const Node& node) {
  const auto result =
      http::make_schema("ToolResult", {{.name = "output",
                                        .required = true,
                                        .description = "What the tool gave; the model reads it",
                                        .max_length = actors::kMaxResultBytes},
                                       {.name = "is_error", .type = FieldType::kBool}});
  router.add({.method = "POST",
              .pattern = "/v1/sessions/{id}/tools/{call_id}",
              .capability = "session:start",
              .summary = "The result of a tool call that was handed out, once",
              .tag = "sessions",
              .request = result,
              .responses = {{.status = 202}},
              .idempotent_write = true},
             [&node](auto r, auto responder) { submit_result(node, r, responder); });
}

}  // namespace soma::runtime::api
