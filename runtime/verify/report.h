// A verification's report as JSON.
#pragma once

#include <boost/json/object.hpp>

#include "runtime/verify/verify.h"

namespace soma::runtime {

// {ok, frames, events, partitions, actors, first_bad, …}. first_bad has {file, offset, partition,
// frame, reason, invariant}; file and byte offset are null: only who has the files knows them.
boost::json::object to_json(const VerifyReport& report);
boost::json::object to_json(const checks::Finding& finding);

}  // namespace soma::runtime
