// A row goes when its command is there.
#include "tools/cli/later_commands.h"

#include <iterator>

namespace soma::cli {

namespace {

struct Row {
  const char *path, *missing, *instead;
};

constexpr Row kRows[] = {
    {"soma memory link", "links between memories (POST /link) are not in this build",
     "give related memories the same tags: `soma memory remember --help`"},
    {"soma memory wm", "working memory (GET /wm) is not in this build",
     "`soma memory recall` finds what is remembered"},
    {"soma memory export", "the export of memories (POST /migrate/export) is not in this build",
     "`soma actor list --type memory` and `soma actor state` show them one by one"},
    {"soma slm queue", "no route tells of a queue of model calls in this build",
     "`soma effects list` shows the model calls that are pending"},
    {"soma slm scores", "the scores of models (GET /v1/scores) are not in this build",
     "`soma bench infer` measures the gateway, `soma slm infer` asks one model"},
};

}  // namespace

std::optional<LaterCommand> later_command(std::string_view path) {
  for (const Row& row : kRows)
    if (path == row.path) return LaterCommand{row.missing, row.instead};
  return {};
}

}  // namespace soma::cli
