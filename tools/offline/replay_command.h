// soma replay: everything decided again, in parallel, with a checkpoint to go on from.
#pragma once

#include "tools/cli/verbs.h"

namespace soma::cli {

void add_replay_verb(CLI::App& app, Context& context, const Wrap& run);

}  // namespace soma::cli
