// What the commands share: where the node is, how output and errors look.
#pragma once

#include <boost/json/value.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/base/errors.h"
#include "tools/term/table.h"
#include "tools/term/tree.h"

namespace CLI {
class App;
}

namespace soma::runtime {
struct BlockingCall;
struct HttpReply;
}  // namespace soma::runtime

namespace soma::cli {

namespace offline {
class Folder;
}

inline constexpr const char* kVersion = "0.1.0";

// One for the process; filled by the parser, then used by the one command that runs.
struct Context {
  std::string output, server, token, data_dir, profile;
  // Brokers of a cluster whose journal is read instead of a data folder's; empty: the folder's.
  std::string kafka, kafka_topic_prefix;
  bool offline = false;  // read the data folder even beside a running node
  // Of lists.
  int limit = 50;
  std::string cursor;
  std::vector<std::string> filters;
  double watch_s = 0;
  // Of writes.
  bool yes = false, dry_run = false;
  std::string idempotency_key;

  std::string folder() const;       // data folder in force
  Result<std::string> url() const;  // of the node; kUnavailable says how to start one
  // URL of the node that --server, SOMA_SERVER or a context names; empty: none does, so it is the
  // folder that tells. kNotFound: there is no such context.
  Result<std::string> named_node() const;
  // The same for what can be read from files too: empty where --offline, --kafka or --data-dir says
  // which (but --server and --context were given with that --data-dir, so they count).
  Result<std::string> elsewhere() const;
  bool node_is_there() const;  // a server was named, or a process serves the folder
  // Parsed answer of a JSON route; a problem answer becomes an Error with its code. With `dry_run`
  // anything but GET is described instead of sent. The idempotency key goes with each write;
  // `if_match`: an ETag, without which a write is refused where it changed meanwhile.
  Result<boost::json::value> call(const std::string& method, const std::string& path,
                                  const boost::json::value& body = nullptr,
                                  const std::string& if_match = {}) const;
  // The answer's bytes as they are.
  Result<std::string> fetch(const std::string& method, const std::string& path,
                            const boost::json::value& body = nullptr,
                            const std::string& if_match = {}) const;
  // The answer's bytes as they come, however many; `take` ends it with false. Fails too where the
  // answer broke off.
  Status download(const std::string& method, const std::string& path,
                  const std::function<bool(std::string_view)>& take) const;
  // GET from the running node, or, when there is none, from the stopped data folder.
  Result<boost::json::value> read(const std::string& path) const;
  // The same of a list route: the items of all its pages. `path` has no query.
  Result<boost::json::array> read_all(const std::string& path) const;
  // Follows an event stream until it ends or `on_event` (name, data) says false. `on_idle` is asked
  // several times a second; false ends too.
  Status follow(const std::string& path,
                const std::function<bool(std::string_view, std::string_view)>& on_event,
                const std::function<bool()>& on_idle = {},
                const std::string& last_event_id = {}) const;

  bool table() const;                                 // humans read it
  Look look() const;                                  // of stdout
  void print(const boost::json::value& value) const;  // one object
  // Rows of `items` under these members; elsewhere a line an item. `wide` adds columns.
  void print_list(const boost::json::array& items, const std::vector<std::string>& columns,
                  const std::vector<std::string>& wide = {}) const;
  int show(const Result<boost::json::value>& result) const;  // print, or fail
  // Pages of a list route until the limit, filtered, printed. `path` may have a query.
  // `shape`: what is done to each that is shown.
  int list(const std::string& path, const std::string& items,
           const std::vector<std::string>& columns, const std::vector<std::string>& wide = {},
           const std::function<void(boost::json::value&)>& shape = {}) const;
  // Says what is wrong and what to do next, on stderr; the exit code. `hint` empty: the code's own.
  int fail(const Error& error, std::string hint = {}) const;
  // Between two looks of --watch. `good`: the last one failed nowhere; what it printed is not
  // printed again while it is still there. What was opened is opened anew.
  void look_again(bool good) const;
  // Of the last fail(): it may be gone by the next look.
  bool failed_in_passing() const;
  void note(const std::string& text) const;       // one line on stderr
  bool confirmed(const std::string& what) const;  // --yes, or asked for on a terminal

  // Facts about commands that the parser does not keep.
  struct Facts {
    Effect effect = Effect::kRead;
    std::string example;
  };
  std::map<const CLI::App*, Facts> facts;
  CommandNode tree;  // all commands; filled by main

 private:
  struct Problem {  // of the last failed call, beyond what an Error holds
    std::string message, code, trace_id;
    long http_status = 0;
    bool unknown_route = false;  // the node is of another build
  };
  Result<runtime::BlockingCall> request(const std::string& method, const std::string& path) const;
  // A problem is an Error with its code.
  Result<runtime::HttpReply> answer_to(const runtime::BlockingCall& call) const;
  Error error_of(long status, const std::string& body, const std::string& trace_id,
                 const std::string& retry_after) const;
  mutable std::shared_ptr<offline::Folder> folder_;  // once opened
  mutable Problem problem_;
  mutable std::set<std::string> seen_, here_;  // lines of the last good look, and of this one
  mutable std::optional<Error> failed_;        // since the last good look
};

int exit_code_of(Code code);
std::string url_encoded(std::string_view text);  // one path segment or query value
std::string text_of(const boost::json::value& object, std::string_view name);  // "" when absent
std::string environment(const char* name);
// "90s", "10m", "1h", "2d": seconds, at most a token's longest life.
Result<std::int64_t> seconds_of(const std::string& text);
Result<std::string> text_file(const std::string& path);  // of at most 4 MiB; "-": stdin

using Wrap = std::function<std::function<void()>(std::function<int()>)>;
void add_node_commands(CLI::App& app, Context& context, const Wrap& run);      // dev, node, demo
void add_auth_commands(CLI::App& app, Context& context, const Wrap& run);      // auth
void add_identity_commands(CLI::App& app, Context& context, const Wrap& run);  // user, service
void add_switch_commands(CLI::App& app, Context& context,
                         const Wrap& run);  // kill-switch, training
void add_session_commands(CLI::App& app, Context& context, const Wrap& run);  // session, chat
void add_service_commands(CLI::App& app, Context& context,
                          const Wrap& run);                                  // memory, slm, tenant
void add_policy_commands(CLI::App& app, Context& context, const Wrap& run);  // policy
void add_governance_commands(CLI::App& app, Context& context,
                             const Wrap& run);  // constitution, approval, settings
void add_operator_commands(
    CLI::App& app, Context& context,
    const Wrap& run);  // status, doctor, projections, effects, dlq, snapshots
void add_generate_commands(CLI::App& app, Context& context,
                           const Wrap& run);  // completion, generate, version
void add_journal_commands(CLI::App& app, Context& context, const Wrap& run);  // log, actor
void add_verify_commands(CLI::App& app, Context& context, const Wrap& run);   // verify, replay
void add_audit_commands(CLI::App& app, Context& context, const Wrap& run);    // audit
void add_sim_commands(CLI::App& app, Context& context, const Wrap& run);      // sim
void add_kafka_commands(CLI::App& app, Context& context, const Wrap& run);    // kafka
void add_bench_commands(CLI::App& app, Context& context, const Wrap& run);    // bench

// Builds the whole tree and runs one command; main without the process around it.
int run_command(int argc, char** argv);

}  // namespace soma::cli
