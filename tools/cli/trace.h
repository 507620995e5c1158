// What led to what in a session, as a tree.
#pragma once

#include <boost/json/array.hpp>
#include <string>

#include "tools/cli/commands.h"

namespace soma::cli {

// Frames (as /v1/log/frames gives them), causes first, to roots: each a command with {command,
// command_id, actor, position, time, principal, rejected?, events, sent: [{to, command,
// command_id}], led_to}. In it is what the session was asked and did, and what its events and
// sends led to, as far as the frames hold it.
boost::json::array trace_of(const boost::json::array& frames, const std::string& session_actor);

// One event in a few words: what was decided, recalled, asked, answered.
std::string trace_words(const boost::json::value& event);
// Under what a decision was made: constitution, settings, policy rules and those that matched.
// Empty for other events.
std::string trace_ground(const boost::json::value& event);

int show_trace(const Context& context, const std::string& session_id);

}  // namespace soma::cli
