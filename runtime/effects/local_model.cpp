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
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <thread>

#include "runtime/telemetry/log.h"
#include "runtime/telemetry/trace.h"

namespace soma::runtime {

namespace {

using namespace std::chrono_literals;

// A port nobody listens on right now. The child may lose it to another process; then it exits and
// is restarted.
int free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof a;
  if (fd < 0) return 0;
  int port = 0;
  if (::bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) == 0 &&
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&a), &size) == 0)
    port = ntohs(a.sin_port);
  ::close(fd);
  return port;
}

// True when GET /health answers 200.
bool healthy(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const timeval wait{1, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(static_cast<std::uint16_t>(port));
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  bool ok = false;
  if (::connect(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) == 0) {
    const char request[] = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    char answer[64] = {};
    if (::send(fd, request, sizeof request - 1, MSG_NOSIGNAL) > 0 &&
        ::recv(fd, answer, sizeof answer - 1, 0) > 12)
      ok = std::string_view(answer).substr(9, 3) == "200";
  }
  ::close(fd);
  return ok;
}

// What the child is told. The key goes by a file that only we can read: arguments and environments
// are visible to more.
std::vector<std::string> arguments(const LocalModelOptions& o, int port,
                                   const std::string& key_file) {
  std::vector<std::string> args{o.server,
                                "-m",
                                o.model,
                                "--host",
                                "127.0.0.1",
                                "--port",
                                std::to_string(port),
                                "-t",
                                std::to_string(o.threads),
                                "-np",
                                std::to_string(LocalModel::kSlots),
                                "--offline",
                                "--no-webui",
                                "--no-slots",
                                "--api-key-file",
                                key_file};
  const auto add = [&](std::initializer_list<const char*> more) {
    args.insert(args.end(), more.begin(), more.end());
  };
  if (!o.name.empty()) add({"--alias", o.name.c_str()});
  if (o.embedding)
    add({"--embedding", "--pooling", "mean"});
  else
    add({"-c", "8192"});
  return args;
}

class Supervised final : public LocalModel {
 public:
  explicit Supervised(LocalModelOptions o)
      : o_(std::move(o)), key_(random_hex(24)), thread_([this] { supervise(); }) {}
  ~Supervised() override {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  Result<SlmEndpoint> endpoint() const override {
    if (!ready_) {
      auto e = fail(Code::kModelUnavailable, "the local model is not running; it is being started");
      e.value().retry_after_ms = kComingMs;
      return e;
    }
    SlmEndpoint e;
    e.base_url = "http://127.0.0.1:" + std::to_string(port_.load()) + "/v1";
    e.api_key = key_;
    e.model = o_.name;
    e.provider = "local";
    e.max_concurrent =
        kSlots;  // more would only wait there, where nobody tells waiting from silence
    e.embed_piece_bytes = o_.embedding ? kEmbedPieceBytes : 0;
    return e;
  }
  int pid() const override { return pid_; }

 private:
  static constexpr std::int64_t kComingMs = 500;
  // 512 tokens are all that the small embedding models read, and no token is shorter than a byte.
  static constexpr std::size_t kEmbedPieceBytes = 480;
  static constexpr auto kHealthy = 30s;    // after so long the back-off begins anew
  static constexpr auto kStartTime = 60s;  // not ready by then: killed, and started again
  static constexpr auto kFarewell = 2s;

  std::string write_key() const {
    const std::string file =
        (o_.log_file.empty() ? "/tmp/soma-" + std::to_string(::getpid()) + "-" + key_.substr(0, 8)
                             : o_.log_file) +
        ".key";
    const int fd =
        ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return {};
    const std::string line = key_ + "\n";
    const bool ok = ::write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size());
    ::close(fd);
    return ok ? file : std::string();
  }

  // The parent-death signal follows the thread that forked: this one lives as long as the process
  // needs it. Between fork and exec only what is safe there: everything is made before.
  pid_t spawn(int port, const std::string& key_file) {
    std::vector<std::string> text = arguments(o_, port, key_file);
    std::vector<char*> args;
    for (auto& t : text) args.push_back(t.data());
    args.push_back(nullptr);
    const std::string log_file = o_.log_file.empty() ? "/dev/null" : o_.log_file;
    const pid_t parent = ::getpid();
    const pid_t child = ::fork();
    if (child != 0) return child;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    ::setpgid(0, 0);  // a terminal's Ctrl-C is the node's to handle
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    const int log = ::open(log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    const int null = ::open("/dev/null", O_RDONLY);
    ::dup2(null, 0);
    ::dup2(log >= 0 ? log : null, 1);
    ::dup2(log >= 0 ? log : null, 2);
    ::close_range(3, ~0U, 0);
    ::execv(args[0], args.data());
    ::_exit(127);
  }

  bool wait(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, time, [&] { return stopping_; });
  }

  // Runs one child to its end. True: the node is stopping.
  bool watch(pid_t child, int port) {
    const auto began = std::chrono::steady_clock::now();
    bool stop = false;
    int status = 0;
    while (!(stop = wait(ready_ ? 100ms : 20ms)) && ::waitpid(child, &status, WNOHANG) == 0) {
      if (ready_) continue;
      if (healthy(port)) {
        ready_ = true;
        log_info("model.local.ready",
                 {{"model", o_.name}, {"pid", static_cast<std::int64_t>(child)}});
      } else if (std::chrono::steady_clock::now() - began > kStartTime) {
        ::kill(child, SIGKILL);
      }
    }
    ready_ = false;
    pid_ = 0;
    if (stop) say_farewell(child);
    return stop;
  }

  static void say_farewell(pid_t child) {
    ::kill(child, SIGTERM);
    const auto until = std::chrono::steady_clock::now() + kFarewell;
    int status = 0;
    while (::waitpid(child, &status, WNOHANG) == 0) {
      if (std::chrono::steady_clock::now() > until) {
        ::kill(child, SIGKILL);
        ::waitpid(child, &status, 0);
        return;
      }
      std::this_thread::sleep_for(5ms);
    }
  }

  void supervise() {
    const std::string key_file = write_key();
    auto back_off = 100ms;
    for (;;) {
      const auto began = std::chrono::steady_clock::now();
      const int port = free_port();
      const pid_t child = key_file.empty() || port == 0 ? -1 : spawn(port, key_file);
      if (child > 0) {
        port_ = port;
        pid_ = child;
        if (watch(child, port)) break;
      }
      if (std::chrono::steady_clock::now() - began > kHealthy) back_off = 100ms;
      log_warn("model.local.ended", {{"model", o_.name},
                                     {"started", child > 0},
                                     {"restart_in_ms", back_off.count()},
                                     {"log", o_.log_file}});
      if (wait(back_off)) break;
      back_off = std::min(back_off * 2, std::chrono::milliseconds(10000));
    }
    if (!key_file.empty()) ::unlink(key_file.c_str());
  }

  const LocalModelOptions o_;
  const std::string key_;
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
      return fail(
          Code::kNotFound,
          "missing " + *file + "; run tools/setup, or give another model by slm.openai.base_url");
  return std::unique_ptr<LocalModel>(std::make_unique<Supervised>(std::move(options)));
}

std::string model_cache_folder() {
  if (const char* dir = std::getenv("SOMA_CACHE_DIR"); dir && *dir) return dir;
  if (const char* xdg = std::getenv("XDG_CACHE_HOME"); xdg && *xdg)
    return std::string(xdg) + "/somastack";
  const char* home = std::getenv("HOME");
  return std::string(home ? home : "/root") + "/.cache/somastack";
}

}  // namespace soma::runtime
