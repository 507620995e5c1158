// Waits for an inference to end: by its state if it has, else by its events.
#pragma once

#include <functional>

#include "runtime/api/submit.h"
#include "soma/v1/inference.pb.h"

namespace soma::runtime::api {

struct Finished {
  v1::InferenceState state;
  Accepted accepted;
};

// Beside its tenant: reservation, call and settlement are then decided in the same frames.
ActorKey inference_key(const std::string& tenant, const std::string& id);

struct Started {
  ActorKey actor;
  Accepted accepted;
};

// Submits the start of a call that is looked up later, under an id that begins with `prefix`.
void start_inference(const Node& node, const RequestPtr& request, v1::ModelRequest model_request,
                     const std::string& action, const std::string& prefix,
                     std::function<void(Result<Started>)> done);
// Submits the start and calls `done` once: with a state that is done or failed, or with an error.
void start_and_wait(const Node& node, const RequestPtr& request, v1::ModelRequest model_request,
                    const std::string& action, std::function<void(Result<Finished>)> done);
// The id of the model call that this request leads to, for those who want its tokens.
std::string call_id_of(const std::string& command_id);
// What a failed inference answers: 403, 429, 503, … by its recorded code. A budget's 429 carries
// `limit`, `remaining` and `resets_at` (null: never), and Retry-After where it resets.
http::Response failure_response(const v1::InferenceState& state);

}  // namespace soma::runtime::api
