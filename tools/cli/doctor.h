// soma doctor: checks of the machine, the folder and the node.
#pragma once

#include "tools/cli/commands.h"

namespace soma::cli {

// 0 when nothing is wrong. With `fix`, mends what can be mended without losing data; with
// context.dry_run it only says what it would do.
int run_doctor(const Context& context, bool fix);

}  // namespace soma::cli
