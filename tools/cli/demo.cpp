// A child `soma dev`, a session, then verification of what it left on disk.
#include "tools/cli/demo.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <thread>

#include "schemas/json/json_read.h"
#include "tools/cli/turn_view.h"
#include "tools/offline/verify_folder.h"
#include "tools/term/text.h"

namespace soma::cli {

namespace json = boost::json;
namespace fs = std::filesystem;

namespace {

// The child and its folder; both go with this object.
class Child {
 public:
  Child() {
    char name[] = "/tmp/soma-demo-XXXXXX";
    folder = ::mkdtemp(name) ? name : "";
  }
  ~Child() {
    stop();
    std::error_code ignored;
    fs::remove_all(folder, ignored);
  }
  // Waits for the ready line; the node's URL.
  Result<std::string> start() {
    int out[2];
    if (folder.empty() || ::pipe2(out, O_CLOEXEC) != 0)
      return tl::unexpected(Error{Code::kIo, "cannot make a temporary folder or a pipe", {}});
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(out[1], 1);
      const int log = ::open((folder + "/node.log").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
      ::dup2(log, 2);
      ::execl("/proc/self/exe", "soma", "dev", "--data-dir", folder.c_str(), "--listen",
              "127.0.0.1:0", "--memory-listen", "off", nullptr);
      ::_exit(127);
    }
    ::close(out[1]);
    std::string line;
    char c;
    while (::read(out[0], &c, 1) == 1 && c != '\n') line.push_back(c);
    ::close(out[0]);
    const auto ready = read_json(line);
    if (!ready)
      return tl::unexpected(
          Error{Code::kUnavailable, "the node did not start; see " + folder + "/node.log", {}});
    return text_of(*ready, "http");
  }
  bool stop() {
    if (pid_ <= 0) return true;
    ::kill(pid_, SIGTERM);
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
  std::string folder;

 private:
  pid_t pid_ = -1;
};

Status wait_for_model(const Context& c) {
  for (int i = 0; i < 600; ++i) {
    auto models = c.call("GET", "/v1/models");
    if (models && models->as_object().at("data").as_array().size() >= 2) return {};
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return tl::unexpected(Error{Code::kModelUnavailable,
                              "the local models did not come up within a minute; run tools/setup",
                              {}});
}

// The list comes from PostgreSQL: a node can run a session without it.
Status wait_for_list(const Context& c, const std::string& session) {
  Error last{Code::kUnavailable, "the session is not in the list", {}};
  for (int i = 0; i < 300; ++i) {
    if (auto listed = c.call("GET", "/v1/sessions")) {
      for (const auto& item : listed->at("items").as_array())
        if (text_of(item, "session_id") == session) return {};
    } else {
      last = listed.error();
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  last.message = "the views did not come up within 30 s: " + last.message;
  return tl::unexpected(std::move(last));
}

// The answer, the decision with its reasons, the proof.
void show_result(const Context& c, const json::value& turn, const TurnView& view,
                 const std::string& id, const json::object& report) {
  const auto* decision = view.result().if_contains("decision");
  if (!c.table()) {
    c.print(json::object{{"answer", text_of(turn, "answer")},
                         {"decision", decision ? *decision : json::value(nullptr)},
                         {"session_id", id},
                         {"verified", report}});
    return;
  }
  std::cout << "\nanswer     " << printable(text_of(turn, "answer"), false) << "\n"
            << "decision   " << text_of(turn, "decision_id") << "\n";
  if (decision) {
    std::cout << "           " << decision_line(*decision) << "\n";
    if (const auto* reasons = member(*decision, "reasons"); reasons && reasons->is_array())
      for (const auto& reason : reasons->get_array())
        std::cout << "           " << cell(&reason) << "\n";
  }
  std::cout << verified_summary(report) << std::flush;
}

}  // namespace

int run_demo(const Context& outer, const std::string& prompt) {
  Context c = outer;
  // Off a terminal stdout holds the result alone.
  std::ostream& tell = c.table() ? std::cout : std::cerr;
  Child child;
  tell << "starting a node on " << child.folder << " …" << std::endl;
  auto url = child.start();
  if (!url) return c.fail(url.error(), "run it once more, or see `soma doctor`");
  c.server = *url;
  tell << "node ready at " << *url << "; waiting for the local model …" << std::endl;
  if (auto ok = wait_for_model(c); !ok) return c.fail(ok.error());
  if (auto r =
          c.call("POST", "/v1/remember", json::object{{"text", "The user prefers short answers."}});
      !r)
    return c.fail(r.error());
  auto started = c.call("POST", "/v1/sessions/start",
                        json::object{{"prompt", prompt}, {"metadata", {{"max_tokens", 64}}}});
  if (!started) return c.fail(started.error());
  const std::string id = text_of(*started, "session_id");
  tell << "\nsession " << id << std::endl;
  TurnView view(&tell, c.look());
  auto followed =
      c.follow("/v1/sessions/" + id + "/stream", [&](std::string_view name, std::string_view data) {
        if (const auto event = read_json(data)) view.take(name, *event, 0);
        return true;
      });
  if (!followed) return c.fail(followed.error());
  auto shown = c.call("GET", "/v1/sessions/" + id);
  if (!shown) return c.fail(shown.error());
  const json::value turn = shown->at("turns").as_array().at(0);
  if (view.status != "completed")
    return c.fail({Code::kModelUnavailable, "the session ended as " + view.status, {}});
  if (auto ok = wait_for_list(c, id); !ok) return c.fail(ok.error(), "see `soma doctor`");
  if (!child.stop()) return c.fail({Code::kInternal, "the node did not stop cleanly", {}});
  runtime::VerifyOptions options;
  options.decide_again = true;
  auto report = verify_folder(child.folder, options);
  if (!report) return c.fail(report.error());
  (*report)["decided_again"] = true;
  report->erase("findings");
  show_result(c, turn, view, id, *report);
  if (report->at("ok").as_bool()) return 0;
  return c.fail(
      {Code::kCorrupt, "verification failed: " + text_of(report->at("first_bad"), "reason"), {}});
}

}  // namespace soma::cli
