// Glue to CLI11.
#include "tools/cli/verbs.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <iostream>
#include <memory>
#include <sstream>

#include "tools/cli/interrupt.h"
#include "tools/term/screen.h"

namespace soma::cli {

namespace {

constexpr double kWatchSeconds = 2;

std::size_t terminal_rows() {
  winsize size{};
  return ::ioctl(1, TIOCGWINSZ, &size) == 0 ? size.ws_row : 0;
}

// What `body` prints, drawn where its last picture stands.
int drawn(const std::function<int()>& body, bool first) {
  std::ostringstream picture;
  auto* const terminal = std::cout.rdbuf(picture.rdbuf());
  const int code = body();
  std::cout.rdbuf(terminal);
  if (code == 0 && !interrupted())
    std::cout << redrawn(picture.str(), terminal_rows(), first) << std::flush;
  return code;
}

std::string value_label(const CLI::Option& o) {
  if (o.get_type_size() == 0 || o.get_expected_max() == 0) return {};
  std::string label = o.get_type_name();
  if (const auto colon = label.find(':'); colon != label.npos) label = label.substr(0, colon);
  return label.empty() ? "VALUE" : label;
}

std::vector<std::string> choices_of(const CLI::Option& o) {
  const std::string type = o.get_type_name();
  const auto open = type.find('{'), close = type.rfind('}');
  if (open == type.npos || close == type.npos || close < open) return {};
  return CLI::detail::split(type.substr(open + 1, close - open - 1), ',');
}

OptionNode option_node(const CLI::Option& o) {
  OptionNode out;
  for (const auto& n : o.get_snames()) out.names.push_back("-" + n);
  for (const auto& n : o.get_lnames()) out.names.push_back("--" + n);
  out.value = value_label(o);
  out.help = o.get_description();
  out.choices = choices_of(o);
  out.required = o.get_required();
  if (out.names.empty()) {
    std::string name = o.get_name(true);
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    out.names.push_back(name);
  }
  return out;
}

}  // namespace

int watched(Context& c, const std::function<int()>& body) {
  if (c.watch_s <= 0) c.watch_s = kWatchSeconds;
  hear_interrupts();
  const bool in_place = c.table() && ::isatty(1) != 0;
  for (bool first = true;;) {
    const int code = in_place ? drawn(body, first) : body();
    std::cout.flush();
    if (interrupted()) return 0;
    if (code != 0 && (first || !c.failed_in_passing())) return code;
    first = false;
    c.look_again(code == 0);
    ::poll(nullptr, 0, static_cast<int>(c.watch_s * 1000));
    if (interrupted()) return 0;
  }
}

CLI::App* add_group(CLI::App& parent, const char* name, const char* summary) {
  return parent.add_subcommand(name, summary)->require_subcommand(1);
}

CLI::App* add_local_verb(CLI::App& parent, Context& context, const Wrap& run, const char* name,
                         const char* summary, Effect effect, const char* example,
                         std::function<int()> body) {
  auto* command = parent.add_subcommand(name, summary);
  context.facts[command] = {effect, example};
  if (effect != Effect::kRead)
    command->add_flag("--dry-run", context.dry_run, "Show what would be done, and do nothing");
  if (effect == Effect::kDestructive)
    command->add_flag("-y,--yes", context.yes, "Do it without asking");
  const std::string what = summary;
  command->callback(run([&context, effect, what, body = std::move(body)] {
    if (effect == Effect::kDestructive && !context.dry_run && !context.confirmed(what))
      return context.fail(
          {Code::kInvalidArgument, "this cannot be undone and was not confirmed", {}},
          "say --yes, or answer y on a terminal");
    return context.watch_s > 0 ? watched(context, body) : body();
  }));
  return command;
}

CLI::App* add_verb(CLI::App& parent, Context& context, const Wrap& run, const char* name,
                   const char* summary, Effect effect, const char* example,
                   std::function<int()> body) {
  auto* command =
      add_local_verb(parent, context, run, name, summary, effect, example, std::move(body));
  if (effect != Effect::kRead)
    command
        ->add_option("--idempotency-key", context.idempotency_key,
                     "The same key again gets the first answer, and does nothing twice")
        ->type_name("KEY");
  return command;
}

void add_list_options(CLI::App& command, Context& context) {
  command.add_option("--limit", context.limit, "At most so many")
      ->check(CLI::Range(1, 100000))
      ->type_name("N");
  command.add_option("--cursor", context.cursor, "Where the last list ended")->type_name("CURSOR");
  command
      .add_option("--filter", context.filters,
                  "Only items where FIELD=VALUE, FIELD!=VALUE or FIELD~PART; may be repeated")
      ->type_name("FIELD=VALUE");
  add_watch_option(command, context);
}

void add_watch_option(CLI::App& command, Context& context) {
  command
      .add_option_function<double>(
          "--watch",
          [&context](const double& s) {
            context.watch_s = s > 0 ? std::max(0.2, s) : kWatchSeconds;
          },
          "Again every so many seconds (default 2) until Ctrl-C")
      ->expected(0, 1)
      ->default_str("2")
      ->type_name("SECONDS");
}

void add_kafka_options(CLI::App& command, Context& context) {
  command.add_option("--kafka", context.kafka, "Read the journal of these brokers instead")
      ->type_name("HOST:PORT,…");
  command
      .add_option("--kafka-topic-prefix", context.kafka_topic_prefix, "Of that cluster's topics")
      ->type_name("PREFIX");
}

CommandNode tree_of(const CLI::App& app, const Context& context) {
  CommandNode node;
  node.name = app.get_name();
  node.summary = app.get_description();
  if (const auto it = context.facts.find(&app); it != context.facts.end()) {
    node.effect = it->second.effect;
    node.example = it->second.example;
  } else if (const std::string footer = app.get_footer(); footer.starts_with("Example: ")) {
    node.example = footer.substr(9);
  }
  for (const auto* o : app.get_options()) {
    if (o == app.get_help_ptr() || o == app.get_help_all_ptr()) continue;
    (o->nonpositional() ? node.options : node.positionals).push_back(option_node(*o));
  }
  for (const auto* c : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (c->get_name().empty()) continue;
    node.children.push_back(tree_of(*c, context));
    if (node.children.back().example.empty()) node.children.back().example = node.example;
    node.effect = std::max(node.effect, node.children.back().effect);
  }
  return node;
}

}  // namespace soma::cli
