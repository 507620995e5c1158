// Fork, watch, restart.
#include "runtime/effects/local_model.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <thread>

#include "runtime/telemetry/log.h"

namespace soma::runtime {

namespace {

using namespace std::chrono_literals;

// A port nobody listens on right now. The child may lose it to another process; then it exits and is restarted.
int free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof a;
  int port = 0;
  if (::bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) == 0 && ::getsockname(fd, reinterpret_cast<sockaddr*>(&a), &size) == 0)
    port = ntohs(a.sin_port);
  ::close(fd);
  return port;
}

// True when GET /health answers 200.
bool healthy(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  timeval wait{1, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(static_cast<std::uint16_t>(port));
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  bool ok = false;
  if (::connect(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) == 0) {
    const char request[] = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    char answer[64] = {};
    if (::send(fd, request, sizeof request - 1, MSG_NOSIGNAL) > 0 && ::recv(fd, answer, sizeof answer - 1, 0) > 12)
      ok = std::string_view(answer).substr(9, 3) == "200";
  }
  ::close(fd);
  return ok;
}

class Supervised final : public LocalModel {
 public:
  explicit Supervised(LocalModelOptions o) : o_(std::move(o)), thread_([this] { supervise(); }) {}
  ~Supervised() override {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  Result<SlmEndpoint> endpoint() const override {
    if (!ready_) return fail(Code::kModelUnavailable, "the local model is not running; it is being restarted");
    SlmEndpoint e;
    e.base_url = "http://127.0.0.1:" + std::to_string(port_.load()) + "/v1";
    e.model = o_.name;
    e.provider = "local";
    return e;
  }
  int pid() const override { return pid_; }

 private:
  // The parent-death signal follows the thread that forked: this one lives as long as the process needs it.
  pid_t spawn(int port) {
    const std::string port_text = std::to_string(port), threads = std::to_string(o_.threads);
    std::vector<const char*> args{o_.server.c_str(), "-m", o_.model.c_str(), "--host", "127.0.0.1", "--port", port_text.c_str(),
                                  "-t", threads.c_str(), "--no-webui", "--offline"};
    if (o_.embedding) args.insert(args.end(), {"--embedding", "--pooling", "mean"});
    else args.insert(args.end(), {"-np", "4", "-c", "8192"});
    args.push_back(nullptr);
    const pid_t parent = ::getpid();
    const pid_t child = ::fork();
    if (child != 0) return child;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    ::setpgid(0, 0);   // a terminal's Ctrl-C is the node's to handle
    const int log = ::open(o_.log_file.empty() ? "/dev/null" : o_.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ::dup2(log, 1);
    ::dup2(log, 2);
    ::close_range(3, ~0U, 0);
    ::execv(args[0], const_cast<char* const*>(args.data()));
    ::_exit(127);
  }

  bool wait(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, time, [&] { return stopping_; });
  }

  void supervise() {
    auto back_off = 100ms;
    while (true) {
      const int port = free_port();
      const pid_t child = spawn(port);
      pid_ = child;
      port_ = port;
      const auto began = std::chrono::steady_clock::now();
      bool stop = false;
      int status = 0;
      while (!(stop = wait(ready_ ? 200ms : 25ms)) && ::waitpid(child, &status, WNOHANG) == 0)
        if (!ready_ && healthy(port)) {
          ready_ = true;
          log_info("local model ready", {{"model", o_.name}, {"pid", static_cast<std::int64_t>(child)}});
        }
      ready_ = false;
      pid_ = 0;
      if (stop) {
        ::kill(child, SIGKILL);   // it holds no state worth a farewell
        ::waitpid(child, &status, 0);
        return;
      }
      if (std::chrono::steady_clock::now() - began > 30s) back_off = 100ms;
      log_warn("local model ended; restarting", {{"model", o_.name}, {"wait_ms", static_cast<std::int64_t>(back_off.count())}});
      if (wait(back_off)) return;
      back_off = std::min(back_off * 2, std::chrono::milliseconds(10000));
    }
  }

  const LocalModelOptions o_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::atomic<bool> ready_{false};
  std::atomic<int> port_{0}, pid_{0};
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<LocalModel>> LocalModel::start(LocalModelOptions options) {
  for (const std::string* file : {&options.server, &options.model})
    if (!std::filesystem::exists(*file))
      return fail(Code::kNotFound, "missing " + *file + "; run tools/setup, or give another model by slm.openai.base_url");
  return std::unique_ptr<LocalModel>(std::make_unique<Supervised>(std::move(options)));
}

std::string model_cache_folder() {
  if (const char* dir = std::getenv("SOMA_CACHE_DIR"); dir && *dir) return dir;
  if (const char* xdg = std::getenv("XDG_CACHE_HOME"); xdg && *xdg) return std::string(xdg) + "/somastack";
  const char* home = std::getenv("HOME");
  return std::string(home ? home : "/root") + "/.cache/somastack";
}

}  // namespace soma::runtime
