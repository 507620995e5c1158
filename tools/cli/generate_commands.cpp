// soma completion, generate, version: what is made of the tree itself.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json.hpp>
#include <cctype>
#include <iostream>

#include "runtime/config/config.h"
#include "tools/cli/verbs.h"
#include "tools/generate/dashboards.h"
#include "tools/generate/deploy_files.h"
#include "tools/term/completion.h"
#include "tools/term/table.h"

namespace soma::cli {

namespace {

int completion(const Context& c, const std::string& shell) {
  if (shell == "bash")
    std::cout << bash_completion(c.tree);
  else if (shell == "zsh")
    std::cout << zsh_completion(c.tree);
  else
    std::cout << fish_completion(c.tree);
  return 0;
}

// Of a quoted label matcher, so that nothing needs to be escaped in it.
std::string job_name(const std::string& name) {
  constexpr std::size_t kMost = 128;
  const bool plain =
      !name.empty() && name.size() <= kMost &&
      std::all_of(name.begin(), name.end(), [](unsigned char c) {
        return std::isalnum(c) || c == '_' || c == '-' || c == '.' || c == '/' || c == ':';
      });
  return plain ? "" : "a job's name is 1 to 128 of A-Z a-z 0-9 _ - . / :";
}

void add_monitoring(CLI::App& generate, Context& context, const Wrap& run) {
  auto job = std::make_shared<std::string>("soma");
  const auto of_job = [job](CLI::App* command) {
    command->add_option("--job", *job, "The job under which Prometheus scrapes the nodes (soma)")
        ->check(job_name)
        ->type_name("NAME");
  };
  of_job(add_verb(generate, context, run, "grafana", "A dashboard of Grafana for the nodes",
                  Effect::kRead, "soma generate grafana > soma.json", [job] {
                    std::cout << boost::json::serialize(grafana_dashboard(*job)) << "\n";
                    return 0;
                  }));
  of_job(add_verb(generate, context, run, "prometheus", "Alert rules of Prometheus for the nodes",
                  Effect::kRead, "soma generate prometheus > /etc/prometheus/rules/soma.yml",
                  [&context, job] {
                    const auto rules = prometheus_rules(*job);
                    if (context.output == "json" || context.output == "ndjson")
                      std::cout << boost::json::serialize(rules) << "\n";
                    else
                      std::cout << yaml(rules);
                    return 0;
                  }));
  auto settings = std::make_shared<bool>(false);
  add_verb(generate, context, run, "systemd", "The unit of a cluster's node", Effect::kRead,
           "soma generate systemd > /etc/systemd/system/soma-node.service",
           [settings] {
             std::cout << (*settings ? kSystemdSettings : kSystemdUnit);
             return 0;
           })
      ->add_flag("--environment", *settings, "The file of settings beside it instead");
}

}  // namespace

void add_generate_commands(CLI::App& app, Context& context, const Wrap& run) {
  auto shell = std::make_shared<std::string>();
  const auto add_shell = [shell](CLI::App* command) {
    command->add_option("shell", *shell, "The shell")
        ->required()
        ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  };
  add_shell(add_verb(app, context, run, "completion", "Completion script for a shell",
                     Effect::kRead, "source <(soma completion bash)",
                     [&context, shell] { return completion(context, *shell); }));
  auto* generate = add_group(app, "generate", "Files made from this build");
  add_shell(add_verb(*generate, context, run, "completion", "Completion script for a shell",
                     Effect::kRead, "soma generate completion zsh > ~/.zsh/completions/_soma",
                     [&context, shell] { return completion(context, *shell); }));
  add_verb(*generate, context, run, "man", "The man page", Effect::kRead,
           "soma generate man | man -l -", [&context] {
             std::cout << man_page(context.tree, kVersion);
             return 0;
           });
  add_verb(*generate, context, run, "settings", "Every setting of a node, as a Markdown table",
           Effect::kRead, "soma generate settings", [] {
             std::cout << runtime::config::settings_markdown();
             return 0;
           });
  add_monitoring(*generate, context, run);
  add_verb(app, context, run, "version", "Version of this build", Effect::kRead, "soma version",
           [&context] {
             if (context.output.empty() && context.table())
               std::cout << "soma " << kVersion << std::endl;
             else
               context.print(boost::json::object{{"version", kVersion}, {"compiler", __VERSION__}});
             return 0;
           });
}

}  // namespace soma::cli
