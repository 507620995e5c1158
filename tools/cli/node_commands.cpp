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

int run_dev(const Context& context, const config::FlagValues& flags) {
  auto loaded = config::load_config(flags);
  if (!loaded) return context.fail(loaded.error());
  if (context.dry_run) return show_settings(context, flags);
  runtime::LogOptions log;
  if (auto level = runtime::parse_log_level(loaded->log_level)) log.level = *level;
  runtime::configure_logging(log);
  return runtime::run_dev(*loaded);
}

std::string value_name(const std::string& takes) {
  return takes.empty() ? "VALUE" : takes.substr(0, takes.find(' '));
}

}  // namespace

void add_node_commands(CLI::App& app, Context& context, const Wrap& run) {
  auto flags = std::make_shared<config::FlagValues>();
  auto* dev = add_local_verb(
      app, context, run, "dev", "Everything on this machine: log, PostgreSQL, model, gateway",
      Effect::kWrite, "soma dev --listen 127.0.0.1:8080 --data-dir .soma", [&context, flags] {
        if (!context.data_dir.empty()) (*flags)["--data-dir"] = context.data_dir;
        return run_dev(context, *flags);
      });
  for (const auto& s : config::settings_table())
    if (!s.flag.empty() && s.flag != "--data-dir")
      dev->add_option_function<std::string>(
             s.flag, [flags, flag = s.flag](const std::string& v) { (*flags)[flag] = v; }, s.help)
          ->type_name(value_name(s.takes));
  auto* node = add_local_verb(
      app, context, run, "node",
      "One node of a cluster; not in this build: `soma dev --kafka` runs one", Effect::kWrite,
      "soma node --kafka BROKERS --postgres URL", [&context] {
        return context.fail(
            {Code::kNotSupported, "several nodes on one cluster are not in this build", {}},
            "run `soma dev`, with --kafka for a cluster's journal");
      });
  node->allow_extras();
  auto prompt = std::make_shared<std::string>("Which city is the capital of France?");
  add_local_verb(app, context, run, "demo",
                 "One governed session on a temporary folder, shown and verified", Effect::kRead,
                 "soma demo --prompt \"What is the capital of Italy?\"",
                 [&context, prompt] { return run_demo(context, *prompt); })
      ->add_option("--prompt", *prompt, "What to ask the model")
      ->type_name("TEXT");
}

}  // namespace soma::cli
