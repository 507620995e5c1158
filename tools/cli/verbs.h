// How commands are put into the tree: every one with its effect and an example.
#pragma once

#include <functional>
#include <string>

#include "tools/cli/commands.h"

namespace soma::cli {

CLI::App* add_group(CLI::App& parent, const char* name, const char* summary);

// A command. Writes take --dry-run and --idempotency-key, destructive ones --yes as well, and are
// confirmed before `body` runs.
CLI::App* add_verb(CLI::App& parent, Context& context, const Wrap& run, const char* name,
                   const char* summary, Effect effect, const char* example,
                   std::function<int()> body);
// The same for what writes nowhere but on this machine: no --idempotency-key.
CLI::App* add_local_verb(CLI::App& parent, Context& context, const Wrap& run, const char* name,
                         const char* summary, Effect effect, const char* example,
                         std::function<int()> body);
// --limit, --cursor, --filter, --watch
void add_list_options(CLI::App& command, Context& context);
void add_watch_option(CLI::App& command, Context& context);  // --watch [SECONDS]
// Again and again until Ctrl-C, which ends it well: exit 0. A terminal's table is redrawn in place;
// elsewhere new lines are appended. After a first good look a passing failure, as of a node that
// starts anew, is told once and waited out.
int watched(Context& context, const std::function<int()>& body);
void add_kafka_options(CLI::App& command, Context& context);  // --kafka, --kafka-topic-prefix

// Groups of `settings` and `slm`.
void add_notification_verbs(CLI::App& settings, Context& context, const Wrap& run);
void add_profile_verbs(CLI::App& slm, Context& context, const Wrap& run);

// The tree as data, from the parser's own.
CommandNode tree_of(const CLI::App& app, const Context& context);

}  // namespace soma::cli
