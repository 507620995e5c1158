// A world's report as JSON, and what of it counts as cluster-hours.
#pragma once

#include <boost/json/object.hpp>

#include "runtime/sim/world.h"

namespace soma::simulate {

boost::json::object to_json(const sim::Report& report);

// R1: simulated hours of a world in which at least three kinds of faults struck, as many as its
// commands fill at 50 a second.
double cluster_hours(const sim::Report& report);

}  // namespace soma::simulate
