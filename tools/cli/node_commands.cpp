// soma dev, node, version, auth, demo.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <filesystem>
#include <iostream>

#include "runtime/config/config.h"
#include "runtime/node/node.h"
#include "runtime/security/authenticator.h"
#include "runtime/telemetry/log.h"
#include "tools/cli/commands.h"
#include "tools/cli/demo.h"

namespace soma::cli {

namespace json = boost::json;
namespace config = soma::runtime::config;

namespace {

int start(const Context& context, config::FlagValues flags, int (*run)(const config::Config&)) {
  if (!context.data_dir.empty()) flags["--data-dir"] = context.data_dir;
  auto loaded = config::load_config(flags);
  if (!loaded) return context.fail(loaded.error());
  runtime::LogOptions log;
  if (auto level = runtime::parse_log_level(loaded->log_level)) log.level = *level;
  runtime::configure_logging(log);
  return run(*loaded);
}

void add_settings(CLI::App& command, const std::shared_ptr<config::FlagValues>& flags) {
  for (const auto& s : config::settings_table())
    if (!s.flag.empty() && s.flag != "--data-dir")
      command.add_option_function<std::string>(
          s.flag, [flags, flag = s.flag](const std::string& v) { (*flags)[flag] = v; },
          s.help + " (" + s.takes + ")");
}

struct TokenFlags {
  std::string tenant = "demo", subject = "developer",
              capabilities = "session:*,memory:*,slm:*,policy:*,tenant:*,admin:*", ttl = "1h";
  bool force = false;
};

Result<std::int64_t> seconds(const std::string& text) {
  std::size_t used = 0;
  std::int64_t n = 0;
  try {
    n = std::stoll(text, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  const std::string unit = used ? text.substr(used) : "?";
  const std::int64_t scale = unit.empty() || unit == "s" ? 1
                             : unit == "m"               ? 60
                             : unit == "h"               ? 3600
                             : unit == "d"               ? 86400
                                                         : 0;
  if (scale == 0 || n <= 0)
    return tl::unexpected(
        Error{Code::kInvalidArgument, "--ttl must be a time as 90s, 10m, 1h or 2d", "--ttl"});
  return n * scale;
}

int issue(const Context& context, const TokenFlags& f) {
  auto loaded = config::load_config({{"--data-dir", context.folder()}});
  if (!loaded) return context.fail(loaded.error());
  if (f.capabilities == "*" && runtime::security::is_production_mode(loaded->mode) && !f.force)
    return context.fail(
        {Code::kForbidden, "a token for everything in production needs --force", "--cap"});
  auto ttl = seconds(f.ttl);
  if (!ttl) return context.fail(ttl.error());
  runtime::security::AuthOptions o;
  o.mode = loaded->mode;
  o.key_dir = context.folder() + "/keys";
  o.hs256_secret = loaded->identity_hs256_secret;
  auto authenticator = runtime::security::Authenticator::create(std::move(o));
  if (!authenticator) return context.fail(authenticator.error());
  runtime::security::TokenRequest request{
      f.subject, f.tenant, CLI::detail::split(f.capabilities, ','), *ttl, "cli", {}};
  auto token = (*authenticator)->issue_token(request);
  if (!token) return context.fail(token.error());
  std::cout << token->token << std::endl;
  return 0;
}

}  // namespace

void add_node_commands(CLI::App& app, Context& context, const Wrap& run) {
  auto* dev =
      app.add_subcommand("dev", "Everything on this machine: log, PostgreSQL, model, gateway");
  dev->footer("Example: soma dev --listen 127.0.0.1:8080 --data-dir .soma");
  auto flags = std::make_shared<config::FlagValues>();
  add_settings(*dev, flags);
  dev->callback(run([&context, flags] { return start(context, *flags, runtime::run_dev); }));
  auto* node = app.add_subcommand(
      "node", "One node of a cluster: serves when it is its turn, else stands by");
  node->footer(
      "Example: soma node --kafka kafka1:9092,kafka2:9092 --postgres postgresql://db/soma\n"
      "One node at a time serves all partitions; the others stand by and take over.");
  add_settings(*node, flags);
  node->callback(run([&context, flags] { return start(context, *flags, runtime::run_node); }));
  app.add_subcommand("version", "Version of this build")->callback(run([&context] {
    if (context.table())
      std::cout << "soma 0.1.0" << std::endl;
    else
      context.print(json::object{{"version", "0.1.0"}, {"compiler", __VERSION__}});
    return 0;
  }));
  auto* auth = app.add_subcommand("auth", "Tokens")->require_subcommand(1);
  auto* token = auth->add_subcommand("token", "Sign a token with the data folder's key");
  token->footer(
      "Example: soma auth token --tenant demo --sub ana --cap session:start,session:read --ttl 1h");
  auto f = std::make_shared<TokenFlags>();
  token->add_option("--tenant", f->tenant);
  token->add_option("--sub", f->subject);
  token->add_option("--cap", f->capabilities, "Comma-separated area:verb, area:* or *");
  token->add_option("--ttl", f->ttl);
  token->add_flag("--force", f->force);
  token->callback(run([&context, f] { return issue(context, *f); }));
  auto prompt = std::make_shared<std::string>("Which city is the capital of France?");
  auto* demo =
      app.add_subcommand("demo", "One governed session on a temporary folder, shown and verified");
  demo->add_option("--prompt", *prompt);
  demo->callback(run([&context, prompt] { return run_demo(context, *prompt); }));
}

}  // namespace soma::cli
