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

#include "tools/offline/verify.h"

namespace soma::cli {

namespace json = boost::json;
namespace fs = std::filesystem;

namespace {

std::string text(const json::value& v, const char* name) {
  const auto* m = v.is_object() ? v.get_object().if_contains(name) : nullptr;
  return m && m->is_string() ? std::string(m->get_string()) : std::string();
}

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
    boost::system::error_code bad;
    const json::value ready = json::parse(line, bad);
    if (bad)
      return tl::unexpected(
          Error{Code::kUnavailable, "the node did not start; see " + folder + "/node.log", {}});
    return text(ready, "http");
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

}  // namespace

Result<std::string> show_stream(const Context& context, const std::string& session_id) {
  std::string status;
  bool in_answer = false;
  auto followed = context.follow(
      "/v1/sessions/" + session_id + "/stream", [&](std::string_view name, std::string_view data) {
        const json::value v = json::parse(data);
        if (name == "token") {
          if (!in_answer) std::cout << "\n  ";
          in_answer = true;
          std::cout << text(v, "text") << std::flush;
          return true;
        }
        if (in_answer) std::cout << "\n\n";
        in_answer = false;
        const json::value& d =
            v.is_object() && v.get_object().contains("data") ? v.get_object().at("data") : v;
        std::cout << "  " << name;
        if (name == "policy.decided") {
          const auto& decision = d.at("decision").as_object();
          std::cout << "  allow=" << (decision.at("allow").as_bool() ? "true" : "false")
                    << " score=" << json::serialize(decision.at("score"))
                    << " threshold=" << json::serialize(decision.at("threshold"))
                    << " id=" << text(decision, "decision_id");
        } else if (name == "memory.recalled") {
          const auto* m = d.as_object().if_contains("memories");
          std::cout << "  " << (m ? m->as_array().size() : 0) << " memories";
        } else if (name == "turn.completed") {
          std::cout << "  usage=" << json::serialize(d.at("usage"));
        } else if (name == "turn.failed" || name == "session.failed") {
          std::cout << "  " << text(d.at("failure"), "code") << ": "
                    << text(d.at("failure"), "message");
        }
        std::cout << std::endl;
        if (name == "session.completed" || name == "session.failed" || name == "session.cancelled")
          status = name.substr(8);
        return true;
      });
  if (!followed) return tl::unexpected(followed.error());
  return status;
}

int run_demo(const Context& outer, const std::string& prompt) {
  Context c = outer;
  Child child;
  std::cout << "starting a node on " << child.folder << " …" << std::endl;
  auto url = child.start();
  if (!url) return c.fail(url.error());
  c.server = *url;
  std::cout << "node ready at " << *url << "; waiting for the local model …" << std::endl;
  if (auto ok = wait_for_model(c); !ok) return c.fail(ok.error());
  if (auto r =
          c.call("POST", "/v1/remember", json::object{{"text", "The user prefers short answers."}});
      !r)
    return c.fail(r.error());
  auto session = c.call("POST", "/v1/sessions/start",
                        json::object{{"prompt", prompt}, {"metadata", {{"max_tokens", 64}}}});
  if (!session) return c.fail(session.error());
  const std::string id = text(*session, "session_id");
  std::cout << "\nsession " << id << "\nuser: " << prompt << std::endl;
  auto status = show_stream(c, id);
  if (!status) return c.fail(status.error());
  auto shown = c.call("GET", "/v1/sessions/" + id);
  if (!shown) return c.fail(shown.error());
  const auto& turn = shown->at("turns").as_array().at(0);
  std::cout << "\nanswer:   " << text(turn, "answer") << "\ndecision: " << text(turn, "decision_id")
            << std::endl;
  if (*status != "completed")
    return c.fail({Code::kModelUnavailable, "the session ended as " + *status, {}});
  if (!child.stop()) return c.fail({Code::kInternal, "the node did not stop cleanly", {}});
  std::cout << "\nverifying what it left on disk …" << std::endl;
  return verify_folder(c, child.folder, true);
}

}  // namespace soma::cli
