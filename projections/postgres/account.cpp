// Accounts, privileges, children.
#include "projections/postgres/account.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

namespace soma::projections {

namespace {

constexpr auto kPoll = std::chrono::milliseconds(10);

}  // namespace

Result<Account> server_account() {
  Account a{::geteuid(), ::getegid(), {}};
  const passwd* entry = a.uid == 0 ? ::getpwnam("postgres") : ::getpwuid(a.uid);
  if (!entry && a.uid == 0)
    return fail(Code::kUnavailable,
                "no account `postgres`; install postgresql-15, or give postgres.url");
  // Peer authentication goes by name: without one nobody could connect.
  if (!entry)
    return fail(Code::kUnavailable, "user id " + std::to_string(a.uid) +
                                        " has no name; add it to passwd, or give postgres.url");
  a.uid = entry->pw_uid;
  a.gid = entry->pw_gid;
  a.name = entry->pw_name;
  return a;
}

void become(const Account& account) {
  if (::geteuid() != 0) return;
  if (::setgroups(0, nullptr) != 0 || ::setgid(account.gid) != 0 || ::setuid(account.uid) != 0)
    ::_exit(126);
}

int run_as(const Account& account, const std::vector<std::string>& args, const std::string& log,
           const std::function<bool()>& stopping) {
  // All memory before the fork: another thread may hold the allocator's lock in the child.
  std::vector<char*> argv;
  for (const auto& s : args) argv.push_back(const_cast<char*>(s.c_str()));
  argv.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) {
    const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    ::dup2(out, 1);
    ::dup2(out, 2);
    ::setpgid(0, 0);
    become(account);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent || ::chdir("/") != 0) ::_exit(126);
    ::close_range(3, ~0U, 0);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  if (child < 0) return -1;
  ::setpgid(child, child);  // whoever of the two is first: its group can be ended from now on
  int status = 0;
  pid_t ended = 0;
  while ((ended = ::waitpid(child, &status, WNOHANG)) == 0) {
    if (stopping()) ::kill(-child, SIGKILL);
    std::this_thread::sleep_for(kPoll);
  }
  return ended == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool can_enter(const Account& account, const std::string& folder) {
  if (::geteuid() != 0) return true;
  const pid_t child = ::fork();
  if (child == 0) {
    become(account);
    ::_exit(::access(folder.c_str(), X_OK) == 0 ? 0 : 1);
  }
  int status = 1;
  if (child < 0 || ::waitpid(child, &status, 0) < 0) return false;
  return status == 0;
}

Status own_folder(const Account& account, const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    return fail(Code::kIo, "cannot make " + path + ": " + std::strerror(errno));
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return fail(Code::kIo, path + " is not a folder of ours: " + std::strerror(errno));
  struct stat s {};
  Status ok;
  if (::fstat(fd, &s) != 0 || (s.st_uid != account.uid && s.st_uid != ::geteuid()))
    ok = fail(Code::kIo, path + " belongs to somebody else; remove it");
  else if (s.st_uid != account.uid && ::fchown(fd, account.uid, account.gid) != 0)
    ok = fail(Code::kIo, "cannot hand " + path + " to " + account.name);
  else if (::fchmod(fd, 0700) != 0)
    ok = fail(Code::kIo, "cannot set the mode of " + path);
  ::close(fd);
  return ok;
}

}  // namespace soma::projections
