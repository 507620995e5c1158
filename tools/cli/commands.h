// What the commands share: where the node is, how output and errors look.
#pragma once

#include <boost/json/value.hpp>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/base/errors.h"

namespace CLI {
class App;
}

namespace soma::cli {

struct Context {
  std::string output, server, token, data_dir;
  // Brokers of a cluster whose journal is read instead of a data folder's; empty: the folder's.
  std::string kafka, kafka_topic_prefix;

  std::string folder() const;       // data folder in force
  Result<std::string> url() const;  // of the node; kUnavailable says how to start one
  // Parsed answer of a JSON route; a problem answer becomes an Error with its code.
  Result<boost::json::value> call(const std::string& method, const std::string& path,
                                  const boost::json::value& body = nullptr) const;
  // Follows an event stream until it ends or `on_event` (name, data) says false.
  Status follow(const std::string& path,
                const std::function<bool(std::string_view, std::string_view)>& on_event) const;
  bool table() const;  // humans read it
  void print(const boost::json::value& value) const;
  // Rows of `items` under these members; JSON lines elsewhere.
  void print_list(const boost::json::array& items, const std::vector<std::string>& columns) const;
  int fail(const Error& error) const;  // prints it; the exit code
};

int exit_code_of(Code code);

using Wrap = std::function<std::function<void()>(std::function<int()>)>;
void add_node_commands(CLI::App& app, Context& context,
                       const Wrap& run);  // dev, node, demo, version, auth
void add_session_commands(CLI::App& app, Context& context, const Wrap& run);  // session, chat
void add_service_commands(CLI::App& app, Context& context,
                          const Wrap& run);  // policy, memory, slm, status, projections, effects
void add_offline_commands(CLI::App& app, Context& context,
                          const Wrap& run);  // verify, replay, log, actor
void add_bench_commands(CLI::App& app, Context& context, const Wrap& run);  // bench
void add_sim_commands(CLI::App& app, Context& context, const Wrap& run);    // sim

}  // namespace soma::cli
