// soma log sql: one query of the journal.
#pragma once

#include "tools/cli/verbs.h"

namespace soma::cli {

void add_sql_verb(CLI::App& log, Context& context, const Wrap& run);

}  // namespace soma::cli
