// The servers that benchmarks run: ours, the scripted model, and the peer's.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "tools/bench/benches.h"
#include "tools/bench/child.h"
#include "tools/bench/http_load.h"

namespace soma::bench {

// `soma dev` on a new folder, which is removed with it; on brokers with topics of its own, which
// stay.
class SomaServer {
 public:
  // `upstream_url`: of a model server; empty: no model at all.
  static Result<std::unique_ptr<SomaServer>> start(const Options& options,
                                                   const std::string& upstream_url);
  ~SomaServer();
  std::uint16_t port() const { return port_; }
  pid_t pid() const { return child_->pid(); }
  double boot_ms() const { return boot_ms_; }
  const std::string& folder() const { return folder_; }
  // A tenant that may spend what it likes; the header line of its token.
  Result<std::string> add_tenant(const std::string& tenant);

 private:
  std::string folder_;
  std::unique_ptr<Child> child_;
  std::uint16_t port_ = 0;
  double boot_ms_ = 0;
  std::string soma_;
};

class UpstreamServer {
 public:
  static Result<std::unique_ptr<UpstreamServer>> start(const Options& options);
  std::uint16_t port() const { return port_; }
  std::string base_url() const;
  pid_t pid() const { return child_->pid(); }

 private:
  std::unique_ptr<Child> child_;
  std::uint16_t port_ = 0;
};

// A Restate server and a process of services: the virtual object `counter` and timers; both from
// npm, installed once into the user's cache folder. Its log syncs before it answers (its default,
// set all the same).
class RestateServer {
 public:
  static Result<std::unique_ptr<RestateServer>> start(const Options& options);
  ~RestateServer();
  std::uint16_t port() const { return port_; }            // of the ingress
  std::uint16_t told_port() const { return told_port_; }  // GET: what its timers came to, as JSON
  std::vector<pid_t> pids() const { return {server_->pid(), service_->pid()}; }
  void stop() { server_.reset(); }  // the server, in order; its services run on
  // The server anew over its data; returns as soon as it runs, which is before it answers.
  Status restart();

 private:
  std::string folder_;
  ChildOptions how_;
  std::unique_ptr<Child> server_, service_;
  std::uint16_t port_ = 0, told_port_ = 0;
};

// Measures a script against processes: their CPU over the measured time, memory at its end; a
// profile of the first process when wanted.
Result<Figures> measure(const Options& options, const HttpScript& script,
                        const std::vector<pid_t>& pids);

// perf on a process from now until destroyed; then its report goes to stderr.
class Profile {
 public:
  explicit Profile(pid_t pid);
  ~Profile();

 private:
  std::string file_;
  std::unique_ptr<Child> perf_;
};

inline std::string ours_durable(const Options& o) {
  if (!o.kafka.empty())
    return "every answer after acks=all of the brokers, which sync as they are set to";
  return "every answer after fdatasync of the embedded log (group commit)";
}

}  // namespace soma::bench
