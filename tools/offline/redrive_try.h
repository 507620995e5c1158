// What a redrive would do, tried with this build before it is deployed.
#pragma once

#include <boost/json/array.hpp>
#include <string>

#include "tools/cli/commands.h"

namespace soma::cli {

// `actor`: TENANT/TYPE/ID or TYPE/ID. Folds the actor from the journal of the folder or the cluster
// and decides its parked commands on that copy, in order; a row each. Exit 0: all would run; 8: one
// would be parked again, and those behind it would go on waiting; 3: none are parked.
int try_redrive(const Context& context, const std::string& actor);

// The rows of a trial; 8 when one would be parked again.
int show_tried(const Context& context, const boost::json::array& rows, bool stuck);

}  // namespace soma::cli
