// fork, exec, /proc.
#include "tools/bench/child.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

namespace soma::bench {

namespace fs = std::filesystem;

namespace {

constexpr int kStopWaitMs = 15'000;
constexpr long kTmpfsMagic = 0x01021994;

// In the child, between fork and exec.
[[noreturn]] void become(const ChildOptions& o, int out, pid_t parent) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  const int log = ::open(o.log_file.empty() ? "/dev/null" : o.log_file.c_str(),
                         O_WRONLY | O_CREAT | O_APPEND, 0600);
  const int in = ::open("/dev/null", O_RDONLY);
  ::dup2(in, 0);
  ::dup2(out >= 0 ? out : log, 1);
  ::dup2(log, 2);
  if (!o.folder.empty() && ::chdir(o.folder.c_str()) != 0) ::_exit(127);
  for (const auto& [name, value] : o.environment) ::setenv(name.c_str(), value.c_str(), 1);
  std::vector<char*> argv;
  for (const auto& a : o.command) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  ::_exit(127);
}

// Fields of /proc/PID/stat after the command's name, which may hold anything.
std::vector<std::string> stat_of(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(in)), {});
  const auto end = text.rfind(')');
  std::vector<std::string> out;
  if (end == std::string::npos) return out;
  std::istringstream rest(text.substr(end + 2));
  for (std::string field; rest >> field;) out.push_back(field);
  return out;
}

}  // namespace

Result<std::unique_ptr<Child>> Child::start(const ChildOptions& o) {
  int pipe[2] = {-1, -1};
  if (o.read_stdout && ::pipe2(pipe, O_CLOEXEC) != 0) return fail(Code::kIo, "no pipe");
  const pid_t self = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return fail(Code::kIo, "cannot fork");
  if (pid == 0) become(o, pipe[1], self);
  if (pipe[1] >= 0) ::close(pipe[1]);
  return std::unique_ptr<Child>(new Child(pid, pipe[0]));
}

Child::~Child() {
  stop();
  if (out_ >= 0) ::close(out_);
}

bool Child::running() {
  if (!ended_ && ::waitpid(pid_, &status_, WNOHANG) == pid_) ended_ = true;
  return !ended_;
}

Result<std::string> Child::line(int timeout_ms) {
  std::string text;
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  while (std::chrono::steady_clock::now() < until) {
    pollfd p{out_, POLLIN, 0};
    if (::poll(&p, 1, 100) <= 0) {
      if (!running()) break;
      continue;
    }
    char c;
    if (::read(out_, &c, 1) != 1) break;
    if (c == '\n') return text;
    text.push_back(c);
  }
  return fail(Code::kUnavailable, "a program under test did not start");
}

int Child::stop() {
  if (running()) ::kill(pid_, SIGTERM);
  for (int waited = 0; running() && waited < kStopWaitMs; waited += 10)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  if (running()) {
    ::kill(-pid_, SIGKILL);
    ::waitpid(pid_, &status_, 0);
    ended_ = true;
  }
  return WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
}

Usage usage_of(const std::vector<pid_t>& roots) {
  std::map<pid_t, std::vector<std::string>> all;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const auto pid = static_cast<pid_t>(std::stol(name));
    auto fields = stat_of(pid);
    if (fields.size() > 22) all.emplace(pid, std::move(fields));
  }
  std::set<pid_t> mine(roots.begin(), roots.end());
  for (bool more = true; more;) {
    more = false;
    for (const auto& [pid, f] : all)
      if (!mine.contains(pid) && mine.contains(static_cast<pid_t>(std::stol(f[1]))))
        more = mine.insert(pid).second;
  }
  Usage out;
  const double ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  const double page = static_cast<double>(::sysconf(_SC_PAGESIZE));
  for (const pid_t pid : mine) {
    auto it = all.find(pid);
    if (it == all.end()) continue;
    out.cpu_s += (std::stod(it->second[11]) + std::stod(it->second[12])) / ticks;
    out.rss_mb += std::stod(it->second[21]) * page / 1e6;
  }
  return out;
}

int free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof a;
  int port = 0;
  if (::bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) == 0 &&
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&a), &size) == 0)
    port = ntohs(a.sin_port);
  ::close(fd);
  return port;
}

Result<std::string> make_data_folder(const std::string& parent) {
  const std::string base = parent.empty() ? fs::temp_directory_path().string() : parent;
  struct statfs info {};
  if (::statfs(base.c_str(), &info) != 0)
    return fail(Code::kInvalidArgument, "no folder " + base, "folder");
  if (static_cast<long>(info.f_type) == kTmpfsMagic)
    return fail(Code::kInvalidArgument,
                base + " lies in memory, where a sync means nothing; give --folder on a disk",
                "folder");
  std::string path = base + "/soma-bench-XXXXXX";
  // The account of PostgreSQL must be able to enter it, or its files lie elsewhere.
  if (!::mkdtemp(path.data()) || ::chmod(path.c_str(), 0755) != 0)
    return fail(Code::kIo, "cannot make a folder in " + base);
  return path;
}

void remove_data_folder(const std::string& path) {
  std::error_code ignored;
  std::string home;
  std::getline(std::ifstream(path + "/data/run/postgres.home"), home);
  if (fs::path(home).filename().string().starts_with("somastack-")) fs::remove_all(home, ignored);
  fs::remove_all(path, ignored);
}

}  // namespace soma::bench
