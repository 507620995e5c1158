// tenant erase-subject, tenant erasures.
#pragma once

#include "tools/cli/commands.h"

namespace soma::cli {

void add_privacy_verbs(CLI::App& tenant, Context& context, const Wrap& run);

}  // namespace soma::cli
