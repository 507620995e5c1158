// Tools in a call outside a session: each that the model asks for is judged by itself before the
// caller sees it.
#pragma once

#include "actors/inference/inference.h"

namespace soma::actors {

// Records a `policy.decided` for each call that the answer asks for, and returns them in its order,
// handed out or denied. One that needs a person is denied: nothing waits here.
std::vector<v1::ToolCall> judge_tool_calls(InferenceDecider::Decided& d, const ActorKey& self,
                                           const v1::InferenceState& s,
                                           const v1::ModelAnswer& answer,
                                           const v1::Context& context);

}  // namespace soma::actors
