// policy test and policy diff: rules tried before they are in force.
#pragma once

#include "tools/cli/commands.h"

namespace soma::cli {

// Both judge as a node would and record nothing.
void add_policy_trials(CLI::App& policy, Context& context, const Wrap& run);

}  // namespace soma::cli
