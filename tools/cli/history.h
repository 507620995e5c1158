// An actor's events as a list, all of them or up to a place.
#pragma once

#include <string>

#include "tools/cli/commands.h"

namespace soma::cli {

// `route`: of the list. `at`: sequence, UTC time or position; empty: all. Exit code.
int show_history(const Context& context, const std::string& route, const std::string& at);
void add_at_option(CLI::App& command, std::string& at);

}  // namespace soma::cli
