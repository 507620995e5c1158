// Tools in chat completions, in OpenAI's words: what may be asked for, and what the model asked for
// as it was judged.
#pragma once

#include <boost/json/object.hpp>

#include "runtime/api/model_requests.h"
#include "soma/v1/session.pb.h"

namespace soma::runtime::api {

// Whether the model may ask for tools: some are named, and `tool_choice` is not "none".
bool offers_tools(const boost::json::object& body);
// `tool_choice` and `parallel_tool_calls` into the request. kInvalidArgument names the member.
Status read_tool_wishes(const boost::json::object& body, v1::ModelRequest& request);
// An assistant's `tool_calls` and a tool's `tool_call_id`; each result must answer a call before
// it. `at`: "body.messages.3".
Status read_tool_message(const boost::json::object& message, const std::string& at,
                         const v1::ModelRequest& before, v1::ChatMessage& out);

// Of a call that is done: the calls that were handed out, as OpenAI lists them; `indexed` as in a
// stream's delta.
boost::json::array handed_out(const v1::InferenceState& state, bool indexed);
// The members that tell of calls that were denied: `refusal`, a sentence, and `denied_tool_calls`
// [{name, code, message, decision_id}]. Empty where none was.
boost::json::object denied_calls(const v1::InferenceState& state);
// "tool_calls" where some were handed out, "content_filter" where all were denied, else the
// model's.
std::string finish_reason(const v1::InferenceState& state);

}  // namespace soma::runtime::api
