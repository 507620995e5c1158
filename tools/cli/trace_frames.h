// The frames that a session's trace is made of: of its own partition, and of those that it sent to.
#pragma once

#include <boost/json/array.hpp>
#include <set>
#include <string>

#include "tools/cli/commands.h"

namespace soma::cli {

struct TraceFrames {
  boost::json::array frames;  // as /v1/log/frames gives them, causes before what they led to
  bool partial = false;       // the session goes on behind what was read
};

// Frames of the session's partition from its first event (`from`) to its last (offset `last`).
Result<TraceFrames> own_frames(const Context& context, const std::string& from, std::uint64_t last);

// Adds, from the other partitions, the entries whose command ids are in `wanted`: looked for from
// the first frame's time on, at most so many frames a partition. What is not found stays away.
Status add_other_partitions(const Context& context, std::set<std::string> wanted,
                            TraceFrames& frames);

// The frames of each partition in its order; among partitions by time, but what a command sent
// comes after it: clocks differ, and a send may arrive within the same millisecond.
boost::json::array causes_first(boost::json::array frames);

}  // namespace soma::cli
