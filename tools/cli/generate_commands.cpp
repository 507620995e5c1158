// soma completion, generate, version: what is made of the tree itself.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <iostream>

#include "runtime/config/config.h"
#include "tools/cli/verbs.h"
#include "tools/term/completion.h"

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
