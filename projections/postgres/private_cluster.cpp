// initdb once, postgres as an unprivileged child, and the traps of a kill -9 before.
#include "projections/postgres/private_cluster.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <future>
#include <mutex>
#include <thread>

#include "projections/postgres/account.h"
#include "projections/postgres/db.h"
#include "projections/postgres/leftovers.h"
#include "schemas/base/sha256.h"

namespace soma::projections {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

namespace {

// A socket's path has room for 107 bytes; "/.s.PGSQL.5432.lock" takes 19.
constexpr std::size_t kMaxSocketFolder = 85;
constexpr int kStartPolls = 3000;  // of 10 ms: after a crash it replays its own log first
constexpr int kStopPolls = 500;
constexpr int kMaxFailures = 3;  // starts in a row, before the cluster is set aside

// Where the newest installed version, or the one that a cluster was made by, has its programs;
// empty: nowhere.
std::string programs(int wanted = 0) {
  for (int version = 18; version >= 13; --version) {
    const std::string folder = "/usr/lib/postgresql/" + std::to_string(version) + "/bin/";
    if ((wanted == 0 || wanted == version) && fs::exists(folder + "postgres") &&
        fs::exists(folder + "initdb"))
      return folder;
  }
  return {};
}

class Cluster final : public PrivateCluster {
 public:
  Cluster(const std::string& data_dir, std::function<bool()> stopping)
      : data_dir_(fs::absolute(data_dir).lexically_normal().string()),
        log_(data_dir_ + "/run/postgres.log"),
        stopping_(std::move(stopping)) {}

  ~Cluster() override {
    stop_server();
    std::error_code ignored;
    if (socket_.starts_with("/tmp/")) fs::remove_all(socket_, ignored);
    if (lock_ >= 0) ::close(lock_);
  }

  Status ensure() override {
    if (child_ > 0 && alive_) return {};
    stop_server();
    if (programs().empty())
      return fail(Code::kUnavailable,
                  "PostgreSQL is not installed; install postgresql-15, or give postgres.url");
    if (auto ready = prepare(); !ready) return ready;
    if (!clear_leftovers(cluster(), socket_, stopping_)) return given_up();
    int version = 0;
    std::ifstream(cluster() + "/PG_VERSION") >> version;
    bin_ = programs(version);
    // Views are derived: what no installed version can read, or does not start, is made anew.
    if (bin_.empty() || failures_ >= kMaxFailures) {
      std::error_code ignored;
      fs::remove_all(home_ + "/unusable", ignored);
      fs::rename(cluster(), home_ + "/unusable", ignored);
      bin_ = programs();
      failures_ = 0;
    }
    if (auto made = initialise(); !made) return made;
    auto started = launch();
    failures_ = started ? 0 : failures_ + 1;
    return started;
  }

  void discard() override {
    stop_server();
    std::error_code ignored;
    for (const char* folder : {"/cluster", "/unusable"}) fs::remove_all(home_ + folder, ignored);
    fs::remove(log_, ignored);
  }

  bool running() const override { return child_ > 0 && alive_; }
  int pid() const override { return running() ? child_ : 0; }
  std::string url() const override {
    return socket_.empty() ? std::string()
                           : "host=" + socket_ + " user=soma dbname=postgres connect_timeout=5";
  }
  std::string home() const override { return home_; }

 private:
  std::string cluster() const { return home_ + "/cluster"; }
  static Status given_up() { return fail(Code::kCancelled, "the node is stopping"); }

  // Account, home, lock, socket folder.
  Status prepare() {
    auto account = server_account();
    if (!account) return tl::unexpected(account.error());
    account_ = *account;
    std::error_code error;
    fs::create_directories(data_dir_ + "/run", error);
    if (error) return fail(Code::kIo, "cannot make " + data_dir_ + "/run: " + error.message());
    const std::string tag = sha256_hex(data_dir_).substr(0, 12);
    home_ = can_enter(account_, data_dir_) ? data_dir_ + "/postgres" : "/var/lib/somastack-" + tag;
    if (auto ok = own_folder(account_, home_); !ok) return ok;
    std::ofstream(data_dir_ + "/run/postgres.home") << home_ << "\n";
    if (auto ok = take_lock(); !ok) return ok;
    return choose_socket();
  }

  // Held as long as this object lives, so that two processes never start one cluster. The kernel
  // lets go of it when the holder dies, however.
  Status take_lock() {
    if (lock_ >= 0) return {};
    lock_ = ::open((home_ + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock_ < 0) return fail(Code::kIo, "cannot open " + home_ + "/lock");
    if (::flock(lock_, LOCK_EX | LOCK_NB) == 0) return {};
    ::close(lock_);
    lock_ = -1;
    return fail(Code::kLocked, "another process runs the PostgreSQL cluster in " + home_);
  }

  Status choose_socket() {
    if (!socket_.empty() && fs::exists(socket_)) return {};
    socket_ = home_ + "/socket";
    if (socket_.size() <= kMaxSocketFolder) return own_folder(account_, socket_);
    char name[] = "/tmp/soma-pg-XXXXXX";
    if (!::mkdtemp(name)) return fail(Code::kIo, "cannot make a socket folder under /tmp");
    socket_ = name;
    return own_folder(account_, socket_);
  }

  // Into a temporary folder of this process, then renamed: a half-made cluster is never used, nor
  // one that a killed predecessor's initdb still writes.
  Status initialise() {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(home_, ignored))
      if (entry.path().filename().string().starts_with("new")) fs::remove_all(entry, ignored);
    if (fs::exists(cluster() + "/PG_VERSION")) return {};
    const std::string temp = home_ + "/new-" + std::to_string(::getpid());
    if (run_as(account_,
               {bin_ + "initdb", "-N", "--data-checksums", "-U", "soma", "-E", "UTF8", "--locale=C",
                "-A", "peer", "-D", temp},
               log_, stopping_) != 0) {
      fs::remove_all(temp, ignored);
      return stopping_() ? given_up() : fail(Code::kIo, "initdb failed; see " + log_);
    }
    std::ofstream(temp + "/pg_hba.conf") << "local all all peer map=soma\n";
    std::ofstream(temp + "/pg_ident.conf") << "soma root soma\nsoma " << account_.name << " soma\n";
    std::ofstream(temp + "/postgresql.auto.conf")
        << "listen_addresses = ''\nshared_buffers = 32MB\njit = off\nwal_level = minimal\n"
        << "max_wal_senders = 0\nmax_connections = 20\nlogging_collector = off\n"
        << "unix_socket_permissions = 0700\nlog_min_messages = warning\n"
        << "fsync = on\nsynchronous_commit = on\nfull_page_writes = on\n"
        << "max_wal_size = 512MB\n";
    if (const int fd = ::open(temp.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); fd >= 0) {
      ::syncfs(fd);  // once, for all that initdb -N did not sync
      ::close(fd);
    }
    fs::remove_all(cluster(), ignored);  // a folder without PG_VERSION is nobody's data
    if (::rename(temp.c_str(), cluster().c_str()) != 0)
      return fail(Code::kIo, "cannot name " + cluster());
    if (const int fd = ::open(home_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); fd >= 0) {
      ::fsync(fd);
      ::close(fd);
    }
    return {};
  }

  Status launch() {
    std::promise<pid_t> forked;
    auto pid = forked.get_future();
    stop_ = false;
    alive_ = true;
    // The parent-death signal follows the thread that forks: this one lives as long as the server.
    watcher_ = std::thread([this, &forked] {
      const pid_t child = fork_server();
      forked.set_value(child);
      if (child > 0) watch(child);
      alive_ = false;
    });
    child_ = pid.get();
    if (child_ < 0) return fail(Code::kIo, "cannot fork");
    Error last;
    for (int i = 0; i < kStartPolls && alive_; ++i) {
      if (stopping_()) {
        stop_server(SIGQUIT);  // it has nothing to save, and would end its recovery first
        return given_up();
      }
      auto db = Db::open(url());
      if (db) return {};
      last = db.error();
      std::this_thread::sleep_for(10ms);
    }
    return fail(Code::kIo,
                "the private PostgreSQL did not start; see " + log_ + "; " + last.message);
  }

  // Until the server has ended by itself, or was told to.
  void watch(pid_t child) {
    int polls = 0;
    while (::waitpid(child, nullptr, WNOHANG) == 0) {
      std::unique_lock lock(stop_mutex_);
      if (!stop_)
        stopped_.wait_for(lock, 100ms, [&] { return stop_; });
      else if (++polls == kStopPolls)
        ::kill(child, SIGQUIT);
      else
        stopped_.wait_for(lock, 10ms);
    }
  }

  // SIGINT: fast shutdown; SIGQUIT: immediate.
  void stop_server(int signal = SIGINT) {
    if (child_ > 0 && alive_) ::kill(child_, signal);
    {
      std::lock_guard lock(stop_mutex_);
      stop_ = true;
    }
    stopped_.notify_all();
    if (watcher_.joinable()) watcher_.join();
    child_ = -1;
  }

  pid_t fork_server() {
    const std::string program = bin_ + "postgres", folder = cluster();
    const pid_t parent = ::getpid();
    const pid_t child = ::fork();
    if (child != 0) return child;
    const int out = ::open(log_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    ::dup2(out, 1);
    ::dup2(out, 2);
    ::setsid();
    become(account_);
    ::prctl(PR_SET_PDEATHSIG, SIGINT);  // after setuid, which clears it
    if (::getppid() != parent || ::chdir("/") != 0) ::_exit(127);
    ::close_range(3, ~0U, 0);
    // By its whole path: a bare name it would look for in PATH, where Debian does not put it.
    ::execl(program.c_str(), program.c_str(), "-D", folder.c_str(), "-k", socket_.c_str(), nullptr);
    ::_exit(127);
  }

  const std::string data_dir_, log_;
  const std::function<bool()> stopping_;
  std::string bin_, home_, socket_;
  Account account_;
  int lock_ = -1, failures_ = 0;
  pid_t child_ = -1;
  std::atomic<bool> alive_{false};
  std::mutex stop_mutex_;
  std::condition_variable stopped_;
  bool stop_ = false;
  std::thread watcher_;
};

}  // namespace

std::unique_ptr<PrivateCluster> PrivateCluster::at(const std::string& data_dir,
                                                   std::function<bool()> stopping) {
  return std::make_unique<Cluster>(data_dir, std::move(stopping));
}

}  // namespace soma::projections
