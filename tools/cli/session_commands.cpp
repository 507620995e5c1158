// soma session … and soma chat.
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <boost/json.hpp>
#include <iostream>

#include "tools/cli/commands.h"
#include "tools/cli/demo.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

int show(const Context& c, Result<json::value> r) {
  if (!r) return c.fail(r.error());
  c.print(*r);
  return 0;
}

int list(const Context& c, const std::string& path, const std::vector<std::string>& columns) {
  auto r = c.call("GET", path);
  if (!r) return c.fail(r.error());
  c.print_list(r->at("items").as_array(), columns);
  return 0;
}

int tail(const Context& c, const std::string& id, bool follow) {
  if (c.table()) {
    auto status = show_stream(c, id);
    return status ? 0 : c.fail(status.error());
  }
  auto ok = c.follow("/v1/sessions/" + id + "/stream" + (follow ? "?follow=true" : ""),
                     [](std::string_view, std::string_view data) {
                       std::cout << data << std::endl;
                       return true;
                     });
  return ok ? 0 : c.fail(ok.error());
}

std::atomic<bool> interrupted{false};

// Ctrl-C cancels the turn in progress; Ctrl-D or an empty end of input leaves.
int chat(const Context& c, std::string session) {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = true; };
  ::sigaction(SIGINT, &action, nullptr);
  std::cout << "Talk to the model. Ctrl-C cancels a turn, Ctrl-D leaves." << std::endl;
  for (;;) {
    std::cout << "\nyou> " << std::flush;
    std::string line;
    if (!std::getline(std::cin, line)) {
      if (interrupted.exchange(false)) {
        std::cin.clear();
        ::clearerr(stdin);
        continue;
      }
      break;
    }
    if (line.empty()) continue;
    auto started = session.empty()
                       ? c.call("POST", "/v1/sessions/start", json::object{{"prompt", line}})
                       : c.call("POST", "/v1/sessions/" + session + "/messages",
                                json::object{{"content", line}});
    if (!started) {
      c.fail(started.error());
      continue;
    }
    session = std::string(started->at("session_id").as_string());
    const auto turn = started->at("turn").to_number<std::int64_t>();
    bool cancelled = false, ours = false, answering = false;
    interrupted = false;
    auto ok = c.follow("/v1/sessions/" + session + "/stream", [&](std::string_view name,
                                                                  std::string_view data) {
      if (interrupted.exchange(false) && !cancelled) {
        cancelled = true;
        c.call("POST", "/v1/sessions/" + session + "/cancel", json::object{{"reason", "Ctrl-C"}});
      }
      const json::value v = json::parse(data);
      if (name == "turn.started") ours = v.at("data").at("turn").to_number<std::int64_t>() == turn;
      if (!ours) return true;
      if (name == "token") {
        if (!answering) std::cout << "soma> ";
        answering = true;
        std::cout << std::string(v.at("text").as_string()) << std::flush;
      } else if (name == "policy.decided") {
        const auto& d = v.at("data").at("decision").as_object();
        std::cout << "[policy " << (d.at("allow").as_bool() ? "allowed" : "denied") << ", score "
                  << json::serialize(d.at("score")) << "]\n";
      } else if (name == "turn.failed") {
        std::cout << "[failed: "
                  << std::string(v.at("data").at("failure").at("message").as_string()) << "]\n";
      } else if (name == "session.cancelled") {
        std::cout << "\n[cancelled]\n";
        session.clear();
      }
      return true;
    });
    std::cout << std::endl;
    if (!ok) c.fail(ok.error());
  }
  std::cout << (session.empty() ? "\n" : "\nresume with: soma chat --session " + session + "\n");
  return 0;
}

}  // namespace

void add_session_commands(CLI::App& app, Context& context, const Wrap& run) {
  auto* chat_command = app.add_subcommand("chat", "Talk to the model in the terminal");
  auto resumed = std::make_shared<std::string>();
  chat_command->add_option("--session", *resumed, "Go on with this session");
  chat_command->callback(run([&context, resumed] { return chat(context, *resumed); }));

  auto* session = app.add_subcommand("session", "Sessions")->require_subcommand(1);
  struct Flags {
    std::string id, text, model, status, reason, cursor;
    int limit = 50;
    bool follow = false;
  };
  auto f = std::make_shared<Flags>();
  auto* start = session->add_subcommand("start", "Start a session");
  start->footer("Example: soma session start \"What is a fence?\" -o json");
  start->add_option("prompt", f->text)->required();
  start->add_option("--model", f->model);
  start->callback(run([&context, f] {
    json::object body{{"prompt", f->text}};
    if (!f->model.empty()) body["model"] = f->model;
    return show(context, context.call("POST", "/v1/sessions/start", body));
  }));
  auto* list_command = session->add_subcommand("list", "List sessions, newest first");
  list_command->add_option("--status", f->status);
  list_command->add_option("--limit", f->limit)->check(CLI::Range(1, 200));
  list_command->add_option("--cursor", f->cursor);
  list_command->callback(run([&context, f] {
    std::string path = "/v1/sessions?limit=" + std::to_string(f->limit);
    if (!f->status.empty()) path += "&status=" + f->status;
    if (!f->cursor.empty()) path += "&cursor=" + f->cursor;
    return list(context, path, {"session_id", "status", "turns", "created_at", "user", "model"});
  }));
  const auto with_id = [&](const char* name, const char* help, std::function<int()> body) {
    auto* c = session->add_subcommand(name, help);
    c->add_option("id", f->id, "Session id")->required();
    c->callback(run(std::move(body)));
    return c;
  };
  with_id("show", "Show a session",
          [&context, f] { return show(context, context.call("GET", "/v1/sessions/" + f->id)); });
  with_id("state", "A session's whole state",
          [&context, f] { return show(context, context.call("GET", "/v1/sessions/" + f->id)); });
  auto* events = with_id("events", "A session's history", [&context, f] {
    return list(context, "/v1/sessions/" + f->id + "/events?limit=" + std::to_string(f->limit),
                {"sequence", "type", "time", "position", "principal"});
  });
  events->add_option("--limit", f->limit)->check(CLI::Range(1, 200));
  auto* tail_command = with_id("tail", "Follow a session",
                               [&context, f] { return tail(context, f->id, f->follow); });
  tail_command->add_flag("--follow", f->follow, "Stay for further turns");
  auto* send = with_id("send", "Say something more", [&context, f] {
    return show(context, context.call("POST", "/v1/sessions/" + f->id + "/messages",
                                      json::object{{"content", f->text}}));
  });
  send->add_option("content", f->text)->required();
  auto* cancel = with_id("cancel", "Cancel the turn in progress", [&context, f] {
    return show(context, context.call("POST", "/v1/sessions/" + f->id + "/cancel",
                                      json::object{{"reason", f->reason}}));
  });
  cancel->add_option("--reason", f->reason);
}

}  // namespace soma::cli
