// Tools on the wire: what a model is offered, and the calls that it asks for, fragment by fragment.
#pragma once

#include <boost/json/fwd.hpp>
#include <string>

#include "soma/v1/model.pb.h"

namespace soma::runtime {

inline constexpr int kMaxToolCalls = 32;                     // of one answer
inline constexpr std::size_t kMaxToolCallBytes = 64 * 1024;  // ids, names and arguments of one

std::size_t tool_call_bytes(const v1::ModelAnswer& answer);  // ids, names and arguments

// A message, and the tools of a request, in OpenAI's form.
boost::json::object message_json(const v1::ChatMessage& message);
boost::json::array tools_json(const v1::ModelRequest& request);

// A `tool_calls` member of a delta, taken into the answer: a fragment names its call by its index,
// or begins one with an id, or goes on with the last. What is wrong with it; empty: nothing.
// Nothing of arguments is read: they may be anything.
std::string take_tool_calls(v1::ModelAnswer& answer, const boost::json::value& deltas);

}  // namespace soma::runtime
