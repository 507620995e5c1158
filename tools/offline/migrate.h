// A journal from one engine to another: a data folder onto a cluster, and back.
#pragma once

#include <string>

#include "tools/cli/commands.h"

namespace soma::cli {

// The journal that the context names (cluster, or data folder, also of a running node: as it stands
// now) into the new or unfinished data folder `to`.
int export_journal(const Context& context, const std::string& to);

// The journal of the stopped data folder `from` onto the cluster that the context names, or into
// its data folder.
int import_journal(const Context& context, const std::string& from);

}  // namespace soma::cli
