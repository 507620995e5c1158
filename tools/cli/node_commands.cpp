// soma dev, node, demo.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <iostream>

#include "runtime/config/config.h"
#include "runtime/node/node.h"
#include "runtime/telemetry/log.h"
#include "tools/cli/demo.h"
#include "tools/cli/verbs.h"

namespace soma::cli {

namespace json = boost::json;
namespace config = soma::runtime::config;

namespace {

// The settings that would be in force, each with its source.
int show_settings(const Context& context, const config::FlagValues& flags) {
  auto settings = config::explain_config(flags, [](const std::string& name) {
    const std::string value = environment(name.c_str());
    return value.empty() ? std::nullopt : std::optional(value);
  });
  if (!settings) return context.fail(settings.error());
  json::array items;
  for (const auto& s : *settings)
    items.push_back({{"key", s.key}, {"value", s.value}, {"source", s.source}});
  context.print_list(items, {"key", "value", "source"});
  return 0;
}

int start(const Context& context, config::FlagValues flags, int (*run)(const config::Config&)) {
  if (!context.data_dir.empty()) flags["--data-dir"] = context.data_dir;
  auto loaded = config::load_config(flags);
  if (!loaded) return context.fail(loaded.error());
  if (context.dry_run) return show_settings(context, flags);
  runtime::LogOptions log;
  if (auto level = runtime::parse_log_level(loaded->log_level)) log.level = *level;
  using Format = runtime::LogOptions::Format;
  log.format = loaded->log_format == "json"   ? Format::kJson
               : loaded->log_format == "text" ? Format::kText
                                              : Format::kAuto;
  runtime::configure_logging(log);
  return run(*loaded);
}

std::string value_name(const std::string& takes) {
  return takes.empty() ? "VALUE" : takes.substr(0, takes.find(' '));
}

void add_settings(CLI::App& command, const std::shared_ptr<config::FlagValues>& flags) {
  for (const auto& s : config::settings_table())
    if (!s.flag.empty() && s.flag != "--data-dir")
      command
          .add_option_function<std::string>(
              s.flag, [flags, flag = s.flag](const std::string& v) { (*flags)[flag] = v; }, s.help)
          ->type_name(value_name(s.takes));
}

}  // namespace

void add_node_commands(CLI::App& app, Context& context, const Wrap& run) {
  auto flags = std::make_shared<config::FlagValues>();
  add_settings(
      *add_local_verb(app, context, run, "dev",
                      "Everything on this machine: log, PostgreSQL, model, gateway", Effect::kWrite,
                      "soma dev --listen 127.0.0.1:8080 --data-dir .soma",
                      [&context, flags] { return start(context, *flags, runtime::run_dev); }),
      flags);
  add_settings(
      *add_local_verb(app, context, run, "node",
                      "One node of a cluster: serves when it is its turn, else stands by",
                      Effect::kWrite,
                      "SOMA_CLUSTER_SECRET_FILE=/etc/soma/cluster.secret soma node --kafka "
                      "kafka1:9092,kafka2:9092 --postgres postgresql://db/soma",
                      [&context, flags] { return start(context, *flags, runtime::run_node); }),
      flags);
  auto prompt = std::make_shared<std::string>("Which city is the capital of France?");
  add_local_verb(app, context, run, "demo",
                 "One governed session on a temporary folder, shown and verified", Effect::kRead,
                 "soma demo --prompt \"What is the capital of Italy?\"",
                 [&context, prompt] { return run_demo(context, *prompt); })
      ->add_option("--prompt", *prompt, "What to ask the model")
      ->type_name("TEXT");
}

}  // namespace soma::cli
