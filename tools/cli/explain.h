// Why something was denied, or would be.
#pragma once

#include <string>

#include "tools/cli/commands.h"

namespace soma::cli {

// A decision by its id ("dec_…"), or a session's last turn: the decision with its inputs, rules,
// constitution and event, and `outcome`, how the turn ended and by which event. Empty: what refuses
// a new session now, check by check. The exit code.
int explain(const Context& context, const std::string& id);

}  // namespace soma::cli
