// A fork that answers through a pipe.
#include "tools/bench/apart.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace soma::bench {

namespace {

constexpr char kMade = 'm', kFailed = 'f';

[[noreturn]] void work_and_tell(const std::function<Result<std::string>()>& work, int out,
                                pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  const auto made = work();
  std::string told(1, made ? kMade : kFailed);
  if (made)
    told += *made;
  else
    told += static_cast<char>(made.error().code) + made.error().message;
  for (std::size_t at = 0; at < told.size();) {
    const ssize_t n = ::write(out, told.data() + at, told.size() - at);
    if (n <= 0) ::_exit(1);
    at += static_cast<std::size_t>(n);
  }
  ::_exit(0);
}

}  // namespace

Result<std::string> bytes_apart(const std::function<Result<std::string>()>& work) {
  int pipe[2];
  if (::pipe(pipe) != 0) return fail(Code::kIo, "no pipe");
  const pid_t parent = ::getpid(), child = ::fork();
  if (child < 0) return fail(Code::kIo, "cannot fork");
  if (child == 0) work_and_tell(work, pipe[1], parent);
  ::close(pipe[1]);
  std::string told;
  char buffer[4096];
  for (ssize_t n; (n = ::read(pipe[0], buffer, sizeof buffer)) > 0;)
    told.append(buffer, static_cast<std::size_t>(n));
  ::close(pipe[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || told.size() < 2)
    return fail(Code::kInternal, "a process of the benchmark ended without a result");
  if (told[0] == kMade) return told.substr(1);
  return fail(static_cast<Code>(told[1]), told.substr(2));
}

}  // namespace soma::bench
