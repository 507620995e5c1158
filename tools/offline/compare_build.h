// The gate before a release: what another build makes of this journal.
#pragma once

#include <string>

#include "tools/cli/commands.h"
#include "tools/offline/replay_scope.h"

namespace soma::cli {

// Steps of this build, a line each, up to `ends` ("12,34,…", one a partition; empty: to the end).
// With `whole` ("3/17:0,…") those alone, in full: {at, whole}.
int print_steps(const Context& context, const std::string& ends, const std::string& whole);
// Runs `build` (another soma) over the same records and compares step by step what is in `scope`.
// 64 when it differs, 6 when it does not speak of steps as this build does.
int compare_build(const Context& context, const std::string& build, const ReplayScope& scope);

}  // namespace soma::cli
