// Reads a stopped data folder and checks everything that can be checked.
#pragma once

#include <string>

#include "events/log.h"
#include "tools/cli/commands.h"

namespace soma::cli {

// Segments, fence, chain, sequences; `deep`: decide and evolve again on recorded inputs. Prints one
// JSON object {ok, frames, events, partitions, actors, heads, first_bad}. Exit code 0, or 9 when
// anything is wrong.
int verify_folder(const Context& context, const std::string& folder, bool deep);

// The same of a log that has no segments to check: each record's frame, hash and order.
int verify_log(const Context& context, const events::Log& log, bool deep);

}  // namespace soma::cli
