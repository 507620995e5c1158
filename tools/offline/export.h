// Exports: everything, a line of JSON each.
#pragma once

#include <string>

#include "tools/cli/commands.h"

namespace soma::cli {

// Frames from a position on, to a file or stdout. `partition` < 0: all.
int export_frames(const Context& context, const std::string& from, int partition,
                  const std::string& out);
// One session: a line with its state, a line an event, and a signature over them.
int export_session(const Context& context, const std::string& id, const std::string& out);
// What that made, into a new session of the running node, which verifies it. Exit 9: it does not.
int import_session(const Context& context, const std::string& path);

// {change, path, from, to} of two states.
int print_diff(const Context& context, const Result<boost::json::value>& from,
               const Result<boost::json::value>& to);

}  // namespace soma::cli
