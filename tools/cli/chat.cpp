// Turn by turn. Ctrl-C belongs to the turn that runs, and only clears the line while one types.
#include "tools/cli/chat.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <boost/json.hpp>
#include <iostream>
#include <thread>

#include "schemas/json/json_read.h"
#include "tools/cli/line_editor.h"
#include "tools/cli/turn_view.h"
#include "tools/term/text.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

std::atomic<int> interrupts{0};
constexpr int kShownTurns = 2;  // of a resumed session
constexpr int kPollMs = 30;

// While it lives, Ctrl-C is counted instead of ending the process.
class Interrupts {
 public:
  Interrupts() {
    struct sigaction action {};
    action.sa_handler = [](int) { interrupts.fetch_add(1); };  // no SA_RESTART: reading a line ends
    ::sigaction(SIGINT, &action, &before_);
  }
  ~Interrupts() { ::sigaction(SIGINT, &before_, nullptr); }

 private:
  struct sigaction before_ {};
};

std::string history_file() {
  std::string base = environment("XDG_STATE_HOME");
  if (base.empty() && !environment("HOME").empty()) base = environment("HOME") + "/.local/state";
  return base.empty() ? "" : base + "/somastack/chat_history";
}

class Chat {
 public:
  Chat(const Context& c, ChatOptions o)
      : c_(c),
        options_(std::move(o)),
        session_(options_.session),
        person_(::isatty(0) != 0 && c.table()),
        editor_(person_ ? history_file() : "") {}

  int run() {
    if (!session_.empty())
      if (const int code = resume(); code != 0) return code;
    if (person_) greet();
    Interrupts guard;
    for (;;) {
      std::string line;
      interrupts = 0;
      const auto outcome = editor_.read("you> ", line);
      if (outcome == LineEditor::Outcome::kEnd) break;
      if (outcome == LineEditor::Outcome::kInterrupted) {
        std::cout << "^C\n" << std::flush;
        continue;
      }
      if (line.find_first_not_of(" \t") == line.npos) continue;
      if (line[0] == '/' && person_) {
        if (!command(line)) break;
        continue;
      }
      if (const int code = turn(line); code != 0 && !person_) return code;
    }
    if (person_ && !session_.empty())
      std::cout << "\nGo on later with: soma chat --session " << session_ << std::endl;
    else if (person_)
      std::cout << std::endl;
    return 0;
  }

 private:
  void greet() {
    std::string model = options_.model;
    if (model.empty())
      if (auto models = c_.call("GET", "/v1/models"); models)
        if (const auto* data = member(*models, "data");
            data && data->is_array() && !data->get_array().empty())
          model = text_of(data->get_array().front(), "id");
    std::cout << (model.empty() ? "No model answers at the moment; `soma doctor` says why."
                                : "Model " + printable(model, false) + ".")
              << " Ctrl-C cancels a turn, Ctrl-D leaves, /help tells more.\n"
              << std::flush;
  }

  int resume() {
    auto s = c_.call("GET", "/v1/sessions/" + url_encoded(session_));
    if (!s) return c_.fail(s.error());
    if (!person_) return 0;
    const auto& turns = s->at("turns").as_array();
    std::cout << "Session " << session_ << ", " << turns.size()
              << (turns.size() == 1 ? " turn" : " turns") << ", " << text_of(*s, "status") << ".\n";
    for (std::size_t i = turns.size() > kShownTurns ? turns.size() - kShownTurns : 0;
         i < turns.size(); ++i) {
      std::cout << "you> " << printable(text_of(turns[i], "prompt"), true) << "\n";
      const std::string answer = text_of(turns[i], "answer");
      if (!answer.empty()) std::cout << "soma> " << printable(answer, true) << "\n";
    }
    if (turns.empty() || text_of(turns[turns.size() - 1], "status") != "running") return 0;
    std::cout << "The last turn is still running.\n";
    Interrupts guard;
    follow(static_cast<std::uint32_t>(turns.size()));
    return 0;
  }

  // False: leave.
  bool command(const std::string& line) {
    if (line == "/quit" || line == "/exit") return false;
    if (line == "/new") {
      session_.clear();
      last_sequence_ = 0;
      std::cout << "A new session begins with what you say next.\n";
    } else if (line == "/session") {
      std::cout << (session_.empty() ? "No session yet." : session_) << "\n";
    } else if (line == "/why") {
      std::cout << (why_.empty() ? "No decision yet.\n" : card(why_, c_.look()));
    } else {
      std::cout
          << "/why      the policy's last decision\n/session  its id\n/new      begin another\n"
             "/quit     leave (or Ctrl-D)\nUp and down: what you said before; Ctrl-R finds.\n";
    }
    return true;
  }

  int turn(const std::string& text) {
    Context c = c_;
    if (!c.idempotency_key.empty()) c.idempotency_key += "-" + std::to_string(++sent_);
    json::object body;
    if (session_.empty()) {
      body["prompt"] = text;
      if (!options_.model.empty()) body["model"] = options_.model;
    } else {
      body["content"] = text;
    }
    auto started = c.call("POST",
                          session_.empty() ? "/v1/sessions/start"
                                           : "/v1/sessions/" + url_encoded(session_) + "/messages",
                          body);
    if (!started) return c_.fail(started.error());
    if (c.dry_run) return c_.show(started);
    session_ = text_of(*started, "session_id");
    return follow(started->at("turn").to_number<std::uint32_t>());
  }

  // Shows the turn until it ends. The first Ctrl-C cancels it, the second stops waiting for that.
  int follow(std::uint32_t turn) {
    TurnView view(person_ ? &std::cout : nullptr, c_.look());
    std::atomic<bool> over{false};
    interrupts = 0;
    std::thread canceller([&] {
      while (!over && interrupts == 0) ::poll(nullptr, 0, kPollMs);
      if (!over)
        c_.call("POST", "/v1/sessions/" + url_encoded(session_) + "/cancel",
                json::object{{"reason", "Ctrl-C"}});
    });
    const auto ok = c_.follow(
        "/v1/sessions/" + url_encoded(session_) + "/stream",
        [&](std::string_view name, std::string_view data) {
          if (const auto event = read_json(data)) view.take(name, *event, turn);
          return interrupts < 2;
        },
        [] { return interrupts < 2; },
        last_sequence_ > 0 ? std::to_string(last_sequence_) : std::string());
    over = true;
    canceller.join();
    last_sequence_ = std::max(last_sequence_, view.last_sequence);
    if (const auto* d = view.result().if_contains("decision"); d && d->is_object())
      why_ = d->get_object();
    if (!ok) return c_.fail(ok.error());
    if (view.status.empty()) {
      c_.note("The turn goes on without us: soma session tail " + session_);
    } else if (!person_) {
      json::object line{{"session_id", session_}};
      for (const auto& [name, value] : view.result()) line[name] = value;
      c_.print(line);
    } else {
      std::cout << std::endl;
    }
    return 0;
  }

  const Context& c_;
  const ChatOptions options_;
  std::string session_;
  const bool person_;
  LineEditor editor_;
  std::uint64_t last_sequence_ = 0;
  int sent_ = 0;
  json::object why_;
};

}  // namespace

int run_chat(const Context& context, ChatOptions options) {
  return Chat(context, std::move(options)).run();
}

}  // namespace soma::cli
