// One process, one command: the tree, what was asked for, help, usage errors.
#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>

#include "schemas/json/json_text.h"
#include "tools/cli/later_commands.h"
#include "tools/cli/verbs.h"

namespace soma::cli {

namespace {

// What the words say before the parser judges them.
struct Asked {
  const CommandNode* node;
  std::string path;     // words before the node's own name
  std::string unknown;  // a word where a command was due
  bool help = false;
};

const OptionNode* option_named(const CommandNode& node, const CommandNode& root,
                               std::string_view name) {
  for (const auto* options : {&node.options, &root.options})
    for (const auto& o : *options)
      for (const auto& n : o.names)
        if (n == name) return &o;
  return nullptr;
}

Asked understand(const CommandNode& root, const std::vector<std::string>& words, Context& context) {
  Asked asked{&root, {}, {}, false};
  for (std::size_t i = 0; i < words.size() && words[i] != "--"; ++i) {
    const std::string& word = words[i];
    if (word == "--help" || word == "-h") {
      asked.help = true;
    } else if (word.size() > 1 && word[0] == '-') {
      const auto equals = word.find('=');
      const std::string name = word.substr(0, equals);
      const auto* option = option_named(*asked.node, root, name);
      std::string value = equals == word.npos ? "" : word.substr(equals + 1);
      if (option && !option->value.empty() && equals == word.npos && i + 1 < words.size() &&
          name != "--watch")
        value = words[++i];
      if (name == "-o" || name == "--output") context.output = value;
      if (word.size() > 2 && word.starts_with("-o")) context.output = word.substr(2);
    } else if (!asked.node->children.empty() && asked.unknown.empty()) {
      if (const auto* child = asked.node->child(word)) {
        asked.path += (asked.path.empty() ? "" : " ") + asked.node->name;
        asked.node = child;
      } else {
        asked.unknown = word;
      }
    }
  }
  return asked;
}

std::size_t help_width() {
  winsize size{};
  if (::ioctl(1, TIOCGWINSZ, &size) == 0 && size.ws_col >= 40)
    return std::min<std::size_t>(size.ws_col, 100);
  return 80;
}

std::string full_name(const Asked& asked) {
  return asked.path.empty() ? asked.node->name : asked.path + " " + asked.node->name;
}

int show_help(const Context& c, const Asked& asked) {
  if (c.output == "json" || c.output == "ndjson")
    std::cout << json_text(to_json(*asked.node, asked.path)) << std::endl;
  else if (c.output == "yaml")
    std::cout << yaml(to_json(*asked.node, asked.path));
  else
    std::cout << help_text(*asked.node, asked.path, c.tree.options, help_width()) << std::flush;
  return 0;
}

std::string listed(const std::vector<std::string>& names, const char* between) {
  std::string out;
  for (const auto& n : names) out += (out.empty() ? "" : between) + n;
  return out;
}

int unknown_command(const Context& c, const Asked& asked) {
  std::vector<std::string> names;
  for (const auto& child : asked.node->children) names.push_back(child.name);
  const std::string name = full_name(asked);
  if (const auto later = later_command(name + " " + asked.unknown))
    return c.fail({Code::kNotSupported, later->missing, {}}, later->instead);
  const auto close = nearest(asked.unknown, names);
  return c.fail(
      {Code::kInvalidArgument, name + " has no command `" + asked.unknown + "`", {}},
      close.empty() ? "see `" + name + " --help`" : "did you mean " + listed(close, ", or ") + "?");
}

int usage_error(const Context& c, const Asked& asked, const CLI::ParseError& e) {
  const std::string name = full_name(asked);
  if (!asked.node->children.empty()) {
    std::vector<std::string> names;
    for (const auto& child : asked.node->children) names.push_back(child.name);
    return c.fail({Code::kInvalidArgument, name + " needs a command: " + listed(names, ", "), {}},
                  "see `" + name + " --help`");
  }
  std::string message = e.what();
  const std::string extras = "The following argument";
  std::string hint = "see `" + name + " --help`";
  if (message.starts_with(extras)) {
    std::string rest = message.substr(message.find(": ") + 2) + " ", first;
    for (; !rest.empty(); rest.erase(0, rest.find(' ') + 1)) {
      const std::string word = rest.substr(0, rest.find(' '));
      if (first.empty() || (first[0] != '-' && word.starts_with("-"))) first = word;
    }
    message = name + " takes no `" + first + "`";
    std::vector<std::string> names;
    for (const auto* options : {&asked.node->options, &c.tree.options})
      for (const auto& o : *options) names.insert(names.end(), o.names.begin(), o.names.end());
    if (const auto close = nearest(first.substr(0, first.find('=')), names);
        first.starts_with("--") && !close.empty())
      hint = "did you mean " + listed(close, ", or ") + "? " + hint;
  }
  while (!message.empty() && (message.back() == '\n' || message.back() == '.')) message.pop_back();
  return c.fail({Code::kInvalidArgument, message, {}}, hint);
}

void add_global_options(CLI::App& app, Context& c) {
  app.add_option("-o,--output", c.output,
                 "Form of the output (default: table on a terminal, else a line of JSON an item)")
      ->check(CLI::IsMember({"table", "wide", "json", "yaml", "ndjson", "name"}))
      ->type_name("FORM");
  app.add_option("--server", c.server,
                 "URL of a running node (else SOMA_SERVER, a context, DATA_DIR/run/endpoints.json)")
      ->type_name("URL");
  app.add_option("--token", c.token, "Bearer token (else SOMA_TOKEN, or the context's)")
      ->type_name("JWT");
  app.add_option(
         "--context", c.profile,
         "Server, token and TLS files of this name in ~/.config/somastack/contexts.json (else "
         "SOMA_CONTEXT)")
      ->type_name("NAME");
  app.add_option("--data-dir", c.data_dir, "Data folder (else SOMA_DATA_DIR, else .soma)")
      ->type_name("DIR");
  app.add_flag("--offline", c.offline, "Read the data folder, also beside a running node");
  app.fallthrough();
}

}  // namespace

int run_command(int argc, char** argv) {
  CLI::App app{"SomaStack: the runtime for AI agents that lose nothing", "soma"};
  app.require_subcommand(1);
  Context context;
  add_global_options(app, context);
  int code = 0;
  const Wrap run = [&](std::function<int()> f) {
    return [&code, f = std::move(f)] { code = f(); };
  };
  add_node_commands(app, context, run);
  add_operator_commands(app, context, run);
  add_auth_commands(app, context, run);
  add_session_commands(app, context, run);
  add_journal_commands(app, context, run);
  add_audit_commands(app, context, run);
  add_verify_commands(app, context, run);
  add_service_commands(app, context, run);
  add_policy_commands(app, context, run);
  add_governance_commands(app, context, run);
  add_identity_commands(app, context, run);
  add_switch_commands(app, context, run);
  add_bench_commands(app, context, run);
  add_sim_commands(app, context, run);
  add_kafka_commands(app, context, run);
  add_generate_commands(app, context, run);
  context.tree = tree_of(app, context);
  context.facts[&app].example = context.tree.example = "soma chat";

  const Asked asked = understand(context.tree, {argv + 1, argv + argc}, context);
  if (!asked.unknown.empty()) return unknown_command(context, asked);
  if (asked.help) return show_help(context, asked);
  if (argc == 1) {
    std::cerr << help_text(context.tree, {}, context.tree.options, help_width());
    return 2;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return usage_error(context, asked, e);
  }
  std::cout.flush();
  return code;
}

}  // namespace soma::cli
