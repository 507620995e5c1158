// A program under test: started, waited for, measured, ended.
#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "schemas/base/errors.h"

namespace soma::bench {

struct ChildOptions {
  std::vector<std::string> command;
  std::map<std::string, std::string> environment;  // beside the harness's own
  std::string folder;                              // to run in; empty: the harness's
  std::string log_file;                            // of stderr, and of stdout unless it is read
  bool read_stdout = false;
};

// In its own process group; killed with the harness and by the destructor. Not thread-safe.
class Child {
 public:
  static Result<std::unique_ptr<Child>> start(const ChildOptions& options);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  // The first line of stdout; kUnavailable when it ended or said nothing in time.
  Result<std::string> line(int timeout_ms);
  bool running();
  int stop();  // SIGTERM, then SIGKILL after 15 s; the exit code
 private:
  Child(pid_t pid, int out) : pid_(pid), out_(out) {}
  pid_t pid_;
  int out_;
  int status_ = 0;
  bool ended_ = false;
};

// Of processes and all their descendants.
struct Usage {
  double cpu_s = 0;
  double rss_mb = 0;
};
Usage usage_of(const std::vector<pid_t>& roots);

int free_port();  // on loopback; somebody else may take it before it is used

// A new folder for data; kInvalidArgument where a sync would mean nothing (tmpfs).
Result<std::string> make_data_folder(const std::string& parent);
// With the PostgreSQL of its data/, which lies elsewhere where its account could not enter.
void remove_data_folder(const std::string& path);

}  // namespace soma::bench
