// From a request to a command, and from its acceptance to an answer: idempotency and positions in
// one place.
#pragma once

#include <boost/json/object.hpp>
#include <functional>
#include <memory>
#include <string>

#include "runtime/api/api.h"
#include "soma/v1/policy.pb.h"
#include "soma/v1/tenant.pb.h"

namespace soma::runtime::api {

using RequestPtr = std::shared_ptr<http::Request>;

// "TENANT:KEY" of a client's Idempotency-Key ("TENANT/ROUND:KEY" when an earlier use of it was
// refused), else one of its own that nobody can repeat.
std::string command_id_of(const http::Request& request);
// An id that no client can choose and nobody repeats.
std::string internal_command_id(const std::string& tenant);
// The id of what a request creates: the same for each retry, another for another route.
std::string created_id(std::string_view prefix, const http::Request& request,
                       const std::string& command_id);
// Of method, path and body; so that the same key with another request is refused.
std::string request_hash_of(const http::Request& request);

Submission make_submission(const http::Request& request, ActorKey actor,
                           const google::protobuf::Message& command, std::string command_id);
// A command of the gateway's own on behalf of the request: its id is of this very call.
Submission own_submission(const http::Request& request, ActorKey actor,
                          const google::protobuf::Message& command);

// Headers of a write's answer: Soma-Position, Idempotent-Replayed.
void add_write_headers(http::Response& response, const Accepted& accepted);

// An error as its problem; with Retry-After where trying again is right.
http::Response problem_of(const Error& error);

// Submits; on acceptance `answer` makes the response, whose headers are then completed.
void submit(const Node& node, const RequestPtr& request, const http::Responder& responder,
            Submission submission, std::function<http::Response(const Accepted&)> answer);

// The tenant's settings as they stand now, then `next`.
void with_settings(const Node& node, const RequestPtr& request, const http::Responder& responder,
                   std::function<void(v1::TenantSettings)> next);

// The tenant's settings in a state that was read, under the server's mode unless the tenant's is
// stricter.
v1::TenantSettings settings_for(const Node& node, const StateView& tenant);

// `next`, on the worker, once the view has seen the request's Soma-Position, or at once when it
// sends none. No thread waits meanwhile. 503 after position_wait_ms.
enum class View : std::uint8_t { kMemory, kPostgres, kJournal };
void after_position(const Node& node, const RequestPtr& request, const http::Responder& responder,
                    View view, std::function<void()> next);

// The strong tags of an If-Match, none without one or for `*`; a weak or unquoted one is kept as it
// is, and so matches nothing.
std::vector<std::string> if_match_tags(const http::Request& request);
http::Field limit_field();  // ?limit= of every list
std::string text_member(const boost::json::value& object, std::string_view name);  // "" when absent
// What a body's `metadata` says of its action: {risk_score?, confidence?, requires_human?}. A value
// of another type or range is kInvalidArgument, naming the field: what is not understood is not
// ignored.
Result<v1::PolicyInput> policy_input(const http::Request& request, const std::string& action,
                                     const std::string& capability);

}  // namespace soma::runtime::api
