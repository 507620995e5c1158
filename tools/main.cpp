// The soma command: one tree of verbs.
#include <CLI/CLI.hpp>

#include "tools/cli/commands.h"

int main(int argc, char** argv) {
  CLI::App app{"SomaStack: the runtime for AI agents that lose nothing", "soma"};
  app.require_subcommand(1);
  app.set_help_all_flag("--help-all", "Help of every command");
  soma::cli::Context context;
  app.add_option("-o,--output", context.output,
                 "table, json, ndjson or name (default: table on a terminal, else json)");
  app.add_option("--server", context.server,
                 "URL of a running node (else SOMA_SERVER, else DATA_DIR/run/endpoints.json)");
  app.add_option("--token", context.token, "Bearer token (else SOMA_TOKEN)");
  app.add_option("--data-dir", context.data_dir, "Data folder (else SOMA_DATA_DIR, else .soma)");
  app.fallthrough();
  int code = 0;
  const auto run = [&](std::function<int()> f) {
    return [&code, f = std::move(f)] { code = f(); };
  };
  soma::cli::add_node_commands(app, context, run);
  soma::cli::add_session_commands(app, context, run);
  soma::cli::add_service_commands(app, context, run);
  soma::cli::add_offline_commands(app, context, run);
  soma::cli::add_bench_commands(app, context, run);
  soma::cli::add_sim_commands(app, context, run);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    const int status = app.exit(e);
    return status == 0 ? 0 : 2;
  }
  return code;
}
