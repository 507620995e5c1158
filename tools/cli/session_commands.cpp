// soma session … and soma chat.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <iostream>

#include "schemas/json/json_read.h"
#include "tools/cli/chat.h"
#include "tools/cli/history.h"
#include "tools/cli/trace.h"
#include "tools/cli/turn_view.h"
#include "tools/cli/verbs.h"
#include "tools/offline/export.h"
#include "tools/offline/what_if.h"
#include "tools/term/text.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

struct Flags {
  std::string id, other, text, model, persona, status, reason, at, out, in, tools, call;
  std::vector<std::string> metadata;
  std::int64_t sequence = 0;
  bool follow = false, wait = false, trace = false, failed = false;
};

std::string route(const std::string& id) { return "/v1/sessions/" + url_encoded(id); }

// "ID" or "ID@AT".
Result<json::value> state_of(const Context& c, const std::string& text, std::string at) {
  const auto mark = text.find('@');
  if (mark != text.npos) at = text.substr(mark + 1);
  std::string path = "/v1/actors/session/" + url_encoded(text.substr(0, mark));
  if (!at.empty()) path += "?at=" + url_encoded(at);
  return c.read(path);
}

int diff_states(const Context& c, const Flags& f) {
  auto a = state_of(c, f.id, {}), b = state_of(c, f.other, {});
  if (!a) return c.fail(a.error());
  if (!b) return c.fail(b.error());
  return print_diff(c, a->at("state"), b->at("state"));
}

int tail(const Context& c, const std::string& id, bool follow) {
  const std::string path = route(id) + "/stream" + (follow ? "?follow=true" : "");
  TurnView view(&std::cout, c.look());
  auto ok = c.follow(path, [&](std::string_view name, std::string_view data) {
    const auto event = read_json(data);
    if (!event) return true;
    if (c.table())
      view.take(name, *event, 0);
    else if (name == "token" || name == "restarted")
      c.print(json::object{{"type", name}, {"data", *event}});
    else
      c.print(*event);
    return true;
  });
  return ok ? 0 : c.fail(ok.error());
}

// A file with a list of tools, in OpenAI's form; null where none was named.
Result<json::value> read_tools(const std::string& file) {
  if (file.empty()) return json::value();
  auto text = text_file(file);
  if (!text) return fail(Code::kInvalidArgument, text.error().message, "--tools");
  auto tools = read_json(*text);
  if (!tools || !tools->is_array())
    return fail(Code::kInvalidArgument, file + " is not a JSON list of tools", "--tools");
  return tools;
}

int send_message(const Context& c, const Flags& f) {
  json::object body{{"content", f.text}};
  auto tools = read_tools(f.tools);
  if (!tools) return c.fail(tools.error());
  if (!tools->is_null()) body["tools"] = std::move(*tools);
  return c.show(c.call("POST", route(f.id) + "/messages", body));
}

int give_result(const Context& c, const Flags& f) {
  auto output = f.text == "-" ? text_file("-") : Result<std::string>(f.text);
  if (!output) return c.fail(output.error());
  json::object body{{"output", std::move(*output)}};
  if (f.failed) body["is_error"] = true;
  return c.show(c.call("POST", route(f.id) + "/tools/" + url_encoded(f.call), body));
}

int start(const Context& c, const Flags& f) {
  json::object body{{"prompt", f.text}};
  auto tools = read_tools(f.tools);
  if (!tools) return c.fail(tools.error());
  if (!tools->is_null()) body["tools"] = std::move(*tools);
  if (!f.model.empty()) body["model"] = f.model;
  if (!f.persona.empty()) body["persona"] = f.persona;
  json::object metadata;
  for (const auto& pair : f.metadata) {
    const auto equals = pair.find('=');
    if (equals == pair.npos || equals == 0)
      return c.fail(
          {Code::kInvalidArgument, "--meta takes NAME=VALUE, not `" + pair + "`", "--meta"});
    const std::string given = pair.substr(equals + 1);
    metadata[pair.substr(0, equals)] =
        read_json(given).value_or(json::value(given));  // numbers and yes/no as such
  }
  if (!metadata.empty()) body["metadata"] = std::move(metadata);
  auto started = c.call("POST", "/v1/sessions/start", body);
  if (!started || c.dry_run || !f.wait) return c.show(started);
  const std::string id = text_of(*started, "session_id");
  TurnView view(c.table() ? &std::cout : nullptr, c.look());
  auto ok = c.follow(route(id) + "/stream", [&](std::string_view name, std::string_view data) {
    if (const auto event = read_json(data)) view.take(name, *event, 0);
    return !view.waits_for_results;
  });
  if (!ok) return c.fail(ok.error());
  if (!c.table()) return c.show(c.call("GET", route(id)));
  std::cout << id << " " << (view.waits_for_results ? "waiting_tools" : view.status) << std::endl;
  return 0;
}

void show_calls(const json::value& turn) {
  const auto* calls = member(turn, "tool_calls");
  if (!calls || !calls->is_array()) return;
  for (const auto& call : calls->get_array()) {
    std::cout << "  tool  " << text_of(call, "status") << "  " << text_of(call, "call_id") << "  "
              << printable(cut(text_of(call, "name") + " " + text_of(call, "arguments"), 80), false)
              << "\n";
    if (const auto* error = member(call, "error"); error && error->is_object())
      std::cout << "        " << printable(text_of(*error, "message"), false) << "\n";
    if (!text_of(call, "approval_id").empty() && text_of(call, "status") == "waiting_approval")
      std::cout << "        approval " << text_of(call, "approval_id") << "\n";
  }
}

int show(const Context& c, const Flags& f) {
  if (f.trace && !f.at.empty())
    return c.fail(
        {Code::kInvalidArgument, "--trace shows the whole course, so it takes no --at", "--at"});
  if (f.trace) return show_trace(c, f.id);
  auto s = c.read(f.at.empty() ? route(f.id) : route(f.id) + "?at=" + url_encoded(f.at));
  if (!s || !c.table()) return c.show(s);
  json::object head = s->as_object();
  const json::value turns = head["turns"];
  head.erase("turns");
  head.erase("pending_tool_calls");  // shown with their turns
  c.print(head);
  if (!turns.is_array()) return 0;
  for (const auto& turn : turns.get_array()) {
    const auto* memories = member(turn, "memories");
    std::cout << "\nturn " << cell(member(turn, "turn")) << "  " << text_of(turn, "status")
              << "  decision " << cell(member(turn, "decision_id")) << "  memories "
              << (memories && memories->is_array() ? memories->get_array().size() : 0) << "\n";
    std::cout << wrap("you>  " + printable(text_of(turn, "prompt"), true), 96, "  ");
    show_calls(turn);
    const std::string answer = text_of(turn, "answer");
    if (!answer.empty()) std::cout << wrap("soma> " + printable(answer, true), 96, "  ");
    if (const auto* error = member(turn, "error"); error && error->is_object())
      std::cout << "  failed: " << cell(member(*error, "message")) << " ["
                << cell(member(*error, "code")) << "]\n";
  }
  std::cout.flush();
  return 0;
}

using Run = std::function<int()>;

void add_writes(CLI::App& session, Context& context, const Wrap& run,
                const std::shared_ptr<Flags>& f) {
  auto* starts = add_verb(session, context, run, "start", "Start a session", Effect::kWrite,
                          "soma session start \"What is a fence?\" --wait",
                          [&context, f] { return start(context, *f); });
  starts->add_option("prompt", f->text, "What the user says")->required();
  starts->add_option("--model", f->model, "Another than the tenant's")->type_name("MODEL");
  starts->add_option("--persona", f->persona, "Who answers")->type_name("TEXT");
  starts->add_option("--meta", f->metadata, "Metadata, as risk_score=0.4; may be repeated")
      ->type_name("NAME=VALUE");
  starts->add_flag("--wait", f->wait, "Until the answer is there, or tool calls wait for you");
  auto* send = add_verb(session, context, run, "send", "Say something more", Effect::kWrite,
                        "soma session send SESSION_ID \"And of Italy?\"",
                        [&context, f] { return send_message(context, *f); });
  send->add_option("id", f->id, "Session id")->required();
  send->add_option("content", f->text, "What the user says")->required();
  for (auto* verb : {starts, send})
    verb->add_option("--tools", f->tools, "File with the tools that the model may ask for")
        ->type_name("FILE");
  auto* result =
      add_verb(session, context, run, "result", "What a tool gave that the model asked for",
               Effect::kWrite, "soma session result SESSION_ID CALL_ID \"14 degrees\"",
               [&context, f] { return give_result(context, *f); });
  result->add_option("id", f->id, "Session id")->required();
  result->add_option("call", f->call, "Call id, as `soma session show` tells")->required();
  result->add_option("output", f->text, "The result; - reads it from stdin")->required();
  result->add_flag("--error", f->failed, "The tool failed; the output says how");
  auto* cancel =
      add_verb(session, context, run, "cancel", "Cancel the turn in progress", Effect::kWrite,
               "soma session cancel SESSION_ID --reason typo", [&context, f] {
                 return context.show(context.call("POST", route(f->id) + "/cancel",
                                                  json::object{{"reason", f->reason}}));
               });
  cancel->add_option("id", f->id, "Session id")->required();
  cancel->add_option("--reason", f->reason, "Recorded with it")->type_name("TEXT");
  add_verb(session, context, run, "import", "A new session with the history of an export",
           Effect::kWrite, "soma session import session.ndjson",
           [&context, f] { return import_session(context, f->in); })
      ->add_option("file", f->in, "What `soma session export` wrote; -: stdin")
      ->required();
  auto* fork =
      add_verb(session, context, run, "fork", "A new session with this one's history up to a place",
               Effect::kWrite, "soma session fork SESSION_ID --at 7", [&context, f] {
                 json::object body;
                 if (f->sequence > 0) body["at_sequence"] = f->sequence;
                 return context.show(context.call("POST", route(f->id) + "/fork", std::move(body)));
               });
  fork->add_option("id", f->id, "Session id")->required();
  fork->add_option("--at", f->sequence, "Up to this event (default: all of them)")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 53))
      ->type_name("SEQUENCE");
}

// What `soma dev` takes for its model, and the budget.
void add_live_options(CLI::App& command, const std::shared_ptr<WhatIf>& w) {
  command.add_flag("--live", w->live, "From where they part, call the model; it is yours to pay");
  command
      .add_option_function<std::int64_t>(
          "--budget-tokens", [w](const std::int64_t& n) { w->budget_tokens = n; },
          "Tokens that live calls may take (default: " +
              std::to_string(WhatIf::kDefaultBudgetTokens) + ")")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1'000'000'000}))
      ->type_name("N");
  for (const auto& s : runtime::config::settings_table())
    if (s.key == "slm.openai.base_url" || s.key == "slm.openai.model" || s.key == "slm.local" ||
        s.key == "config")
      command
          .add_option_function<std::string>(
              s.flag, [w, flag = s.flag](const std::string& v) { w->model_settings[flag] = v; },
              s.help)
          ->type_name(s.takes.empty() ? "VALUE" : s.takes);
}

void add_reads(CLI::App& session, Context& context, const Wrap& run,
               const std::shared_ptr<Flags>& f) {
  auto* list = add_verb(session, context, run, "list", "Sessions, the newest first", Effect::kRead,
                        "soma session list --status failed --limit 10", [&context, f] {
                          std::string path = "/v1/sessions";
                          if (!f->status.empty()) path += "?status=" + url_encoded(f->status);
                          return context.list(
                              path, "items",
                              {"session_id", "status", "turns", "created_at", "user", "model"},
                              {"tenant_id", "updated_at"});
                        });
  list->add_option("--status", f->status, "Only these")
      ->check(CLI::IsMember({"accepted", "running", "waiting_approval", "waiting_tools",
                             "completed", "failed", "cancelled"}))
      ->type_name("STATUS");
  add_list_options(*list, context);
  const auto with_id = [&](const char* name, const char* summary, const char* example, Run body) {
    auto* command =
        add_verb(session, context, run, name, summary, Effect::kRead, example, std::move(body));
    command->add_option("id", f->id, "Session id")->required();
    return command;
  };
  auto* shown = with_id("show", "A session and its turns", "soma session show SESSION_ID --trace",
                        [&context, f] { return show(context, *f); });
  shown->add_flag("--trace", f->trace, "As a tree: what led to what, and under which decision");
  shown->add_option("--at", f->at, "As it was: sequence, UTC time or position")->type_name("AT");
  add_watch_option(*shown, context);
  auto* events =
      with_id("events", "A session's history", "soma session events SESSION_ID -o json",
              [&context, f] { return show_history(context, route(f->id) + "/events", f->at); });
  add_at_option(*events, f->at);
  add_list_options(*events, context);
  with_id("tail", "Follow a session as it happens, tokens too",
          "soma session tail SESSION_ID --follow",
          [&context, f] { return tail(context, f->id, f->follow); })
      ->add_flag("--follow", f->follow, "Stay for further turns");
  with_id("state", "A session's whole state, now or at any place in its history",
          "soma session state SESSION_ID --at 7",
          [&context, f] { return context.show(state_of(context, f->id, f->at)); })
      ->add_option("--at", f->at, "Sequence, UTC time or position")
      ->type_name("AT");
  auto* difference = add_verb(session, context, run, "diff",
                              "What differs between two sessions, or two places of one",
                              Effect::kRead, "soma session diff SESSION_ID@4 SESSION_ID",
                              [&context, f] { return diff_states(context, *f); });
  difference->add_option("a", f->id, "Session id, or ID@SEQUENCE")->required();
  difference->add_option("b", f->other, "The same")->required();
  auto w = std::make_shared<WhatIf>();
  auto* other =
      with_id("what-if", "What it would have been under other rules; calls nothing, unless --live",
              "soma session what-if SESSION_ID --constitution stricter.json", [&context, f, w] {
                w->session = f->id;
                return what_if(context, *w);
              });
  other
      ->add_option("--policy", w->policy,
                   "File with other inputs, as {\"risk_score\":0.9}, or with policy rules in Cedar")
      ->type_name("FILE");
  other->add_option("--model", w->model, "Another model")->type_name("MODEL");
  other->add_option("--constitution", w->constitution, "File with a bundle, a document or rules")
      ->type_name("FILE");
  other->add_option("--settings", w->settings, "File with other settings of the tenant")
      ->type_name("FILE");
  add_live_options(*other, w);
  with_id("export", "A session's state and events, a line of JSON each, signed",
          "soma session export SESSION_ID --out session.ndjson",
          [&context, f] { return export_session(context, f->id, f->out); })
      ->add_option("--out", f->out, "Write here instead of stdout")
      ->type_name("FILE");
}

}  // namespace

void add_session_commands(CLI::App& app, Context& context, const Wrap& run) {
  auto options = std::make_shared<ChatOptions>();
  auto* chat = add_verb(app, context, run, "chat", "Talk to the model in the terminal",
                        Effect::kWrite, "soma chat --session SESSION_ID",
                        [&context, options] { return run_chat(context, *options); });
  chat->add_option("--session", options->session, "Go on with this one")->type_name("ID");
  chat->add_option("--model", options->model, "Another than the tenant's")->type_name("MODEL");
  auto f = std::make_shared<Flags>();
  auto* session = add_group(app, "session", "Conversations, each of them governed and recorded");
  add_kafka_options(*session, context);
  add_writes(*session, context, run, f);
  add_reads(*session, context, run, f);
}

}  // namespace soma::cli
