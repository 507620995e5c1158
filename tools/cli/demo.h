// soma demo: a node on a temporary folder, one governed session, its proof.
#pragma once

#include <string>

#include "tools/cli/commands.h"

namespace soma::cli {

// 0 when everything worked; else an exit code of the CLI's. Shows what it does on stdout.
int run_demo(const Context& context, const std::string& prompt);

// Shows one session's stream as it comes: decision, memories, tokens, usage. The session's last
// status.
Result<std::string> show_stream(const Context& context, const std::string& session_id);

}  // namespace soma::cli
