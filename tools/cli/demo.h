// soma demo: a node on a temporary folder, one governed session, its proof.
#pragma once

#include <string>

#include "tools/cli/commands.h"

namespace soma::cli {

// 0 when everything worked; else an exit code of the CLI's. What happens goes to stderr off a
// terminal; the result {answer, decision, session, verified} to stdout.
int run_demo(const Context& context, const std::string& prompt);

}  // namespace soma::cli
