// initdb once, postgres as an unprivileged child, and the traps of a kill -9 before.
#include "projections/postgres/private_cluster.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <pqxx/pqxx>
#include <thread>
#include <vector>

#include "schemas/base/sha256.h"

namespace soma::projections {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

namespace {

const std::string kBin = "/usr/lib/postgresql/15/bin/";

struct Account {
  uid_t uid = ::getuid();
  gid_t gid = ::getgid();
  std::string name;
};

// PostgreSQL refuses to run as root: then the package's own account runs it.
Result<Account> server_account() {
  Account a;
  if (::getuid() != 0) {
    const passwd* me = ::getpwuid(::getuid());
    a.name = me ? me->pw_name : "soma";
    return a;
  }
  const passwd* pg = ::getpwnam("postgres");
  if (!pg)
    return fail(Code::kUnavailable,
                "no account `postgres`; install postgresql-15, or give postgres.url");
  a.uid = pg->pw_uid;
  a.gid = pg->pw_gid;
  a.name = "postgres";
  return a;
}

void become(const Account& a) {
  if (::getuid() != 0) return;
  if (::setgroups(0, nullptr) != 0 || ::setgid(a.gid) != 0 || ::setuid(a.uid) != 0) ::_exit(126);
}

// Runs to its end as the account; output to `log`. The exit status, or -1.
int run_as(const Account& a, const std::vector<std::string>& args, const std::string& log) {
  const pid_t child = ::fork();
  if (child == 0) {
    const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    ::dup2(out, 1);
    ::dup2(out, 2);
    become(a);
    if (::chdir("/") != 0) ::_exit(126);
    std::vector<char*> argv;
    for (const auto& s : args) argv.push_back(const_cast<char*>(s.c_str()));
    argv.push_back(nullptr);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) < 0) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// May the account reach the folder? Homes of root are closed to it.
bool reachable(const Account& a, const fs::path& folder) {
  if (::getuid() != 0) return true;
  const pid_t child = ::fork();
  if (child == 0) {
    become(a);
    ::_exit(::access(folder.c_str(), X_OK) == 0 ? 0 : 1);
  }
  int status = 1;
  ::waitpid(child, &status, 0);
  return status == 0;
}

class Cluster final : public PrivateCluster {
 public:
  explicit Cluster(std::string data_dir)
      : data_dir_(fs::absolute(data_dir).lexically_normal().string()) {}

  ~Cluster() override {
    if (child_ > 0) {
      ::kill(child_, SIGINT);  // fast shutdown
      stop_.set_value();
    }
    if (watcher_.joinable()) watcher_.join();
    std::error_code ignored;
    fs::remove_all(socket_, ignored);
  }

  Status open() {
    auto account = server_account();
    if (!account) return tl::unexpected(account.error());
    account_ = *account;
    if (!fs::exists(kBin + "postgres"))
      return fail(Code::kUnavailable,
                  "no " + kBin + "postgres; install postgresql-15, or give postgres.url");
    const std::string tag = sha256_hex(data_dir_).substr(0, 12);
    std::error_code error;
    fs::create_directories(data_dir_ + "/run", error);
    home_ = reachable(account_, data_dir_) ? data_dir_ + "/postgres" : "/var/lib/somastack-" + tag;
    socket_ = "/tmp/soma-pg-" + tag;  // a socket's path has room for about 100 bytes
    log_ = data_dir_ + "/run/postgres.log";
    std::ofstream(data_dir_ + "/run/postgres.home") << home_ << "\n";
    fs::create_directories(home_, error);
    if (error) return fail(Code::kIo, "cannot make " + home_ + ": " + error.message());
    fs::create_directories(socket_, error);
    for (const auto& folder : {home_, socket_}) {
      fs::permissions(folder, fs::perms::owner_all);
      if (::getuid() == 0 && ::chown(folder.c_str(), account_.uid, account_.gid) != 0)
        return fail(Code::kIo, "cannot hand " + folder + " to " + account_.name);
    }
    if (auto made = initialise(); !made) return made;
    end_predecessor();
    return launch();
  }

  std::string url() const override {
    return "host=" + socket_ + " user=soma dbname=postgres connect_timeout=5";
  }

 private:
  std::string cluster() const { return home_ + "/cluster"; }

  // Into a temporary folder, then renamed: a half-made cluster is never used.
  Status initialise() {
    if (fs::exists(cluster() + "/PG_VERSION")) return {};
    const std::string temp = home_ + "/new";
    std::error_code ignored;
    fs::remove_all(temp, ignored);
    if (run_as(account_,
               {kBin + "initdb", "-N", "--data-checksums", "-U", "soma", "-E", "UTF8", "--locale=C",
                "-A", "peer", "-D", temp},
               log_) != 0)
      return fail(Code::kIo, "initdb failed; see " + log_);
    std::ofstream(temp + "/pg_hba.conf") << "local all all peer map=soma\n";
    std::ofstream(temp + "/pg_ident.conf") << "soma root soma\nsoma " << account_.name << " soma\n";
    std::ofstream(temp + "/postgresql.auto.conf")
        << "listen_addresses = ''\nshared_buffers = 32MB\njit = off\nwal_level = "
           "minimal\nmax_wal_senders = 0\n"
        << "max_connections = 20\nlogging_collector = off\nunix_socket_permissions = "
           "0700\nlog_min_messages = warning\n";
    ::sync();
    fs::rename(temp, cluster(), ignored);
    return ignored ? fail(Code::kIo, "cannot name " + cluster()) : Status{};
  }

  // A postmaster of a killed process may still run, and its pid file may name a process that is
  // somebody else.
  void end_predecessor() {
    const std::string pid_file = cluster() + "/postmaster.pid";
    int pid = 0;
    std::ifstream(pid_file) >> pid;
    std::error_code ignored;
    const auto ours = [&](const fs::path& proc) {
      return fs::read_symlink(proc / "cwd", ignored) == fs::path(cluster());
    };
    for (int signal : {SIGINT, SIGQUIT, SIGKILL}) {
      bool left = false;
      for (const auto& entry : fs::directory_iterator("/proc", ignored)) {
        const std::string name = entry.path().filename();
        if (name.find_first_not_of("0123456789") != std::string::npos || !ours(entry.path()))
          continue;
        left = true;
        ::kill(std::stoi(name), signal);
      }
      for (int i = 0; left && i < 100; ++i) {
        left = false;
        for (const auto& entry : fs::directory_iterator("/proc", ignored)) {
          const std::string name = entry.path().filename();
          if (name.find_first_not_of("0123456789") == std::string::npos && ours(entry.path()))
            left = true;
        }
        if (left) std::this_thread::sleep_for(20ms);
      }
    }
    fs::remove(pid_file, ignored);
    for (const auto& entry : fs::directory_iterator(socket_, ignored))
      fs::remove(entry.path(), ignored);
  }

  Status launch() {
    std::promise<pid_t> forked;
    auto pid = forked.get_future();
    auto stop = stop_.get_future();
    // The parent-death signal follows the thread that forks: this one lives as long as the cluster.
    watcher_ = std::thread([this, &forked, stop = std::move(stop)]() mutable {
      const pid_t child = fork_server();
      forked.set_value(child);
      stop.wait();
      for (int i = 0; i < 500; ++i) {
        if (::waitpid(child, nullptr, WNOHANG) != 0) return;
        std::this_thread::sleep_for(10ms);
      }
      ::kill(child, SIGQUIT);
      ::waitpid(child, nullptr, 0);
    });
    child_ = pid.get();
    for (int i = 0; i < 1000; ++i) {
      try {
        pqxx::connection c(url());
        return {};
      } catch (const std::exception&) {
        std::this_thread::sleep_for(10ms);
      }
    }
    return fail(Code::kIo, "the private PostgreSQL did not start; see " + log_);
  }

  pid_t fork_server() {
    const pid_t parent = ::getpid();
    const pid_t child = ::fork();
    if (child != 0) return child;
    const int out = ::open(log_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ::dup2(out, 1);
    ::dup2(out, 2);
    ::setsid();
    become(account_);
    ::prctl(PR_SET_PDEATHSIG, SIGINT);  // after setuid, which clears it
    if (::getppid() != parent || ::chdir("/") != 0) ::_exit(127);
    ::close_range(3, ~0U, 0);
    const std::string program = kBin + "postgres";
    ::execl(program.c_str(), "postgres", "-D", cluster().c_str(), "-k", socket_.c_str(), nullptr);
    ::_exit(127);
  }

  const std::string data_dir_;
  std::string home_, socket_, log_;
  Account account_;
  pid_t child_ = -1;
  std::promise<void> stop_;
  std::thread watcher_;
};

}  // namespace

Result<std::unique_ptr<PrivateCluster>> PrivateCluster::start(const std::string& data_dir) {
  auto cluster = std::make_unique<Cluster>(data_dir);
  if (auto ok = cluster->open(); !ok) return tl::unexpected(ok.error());
  return std::unique_ptr<PrivateCluster>(std::move(cluster));
}

}  // namespace soma::projections
