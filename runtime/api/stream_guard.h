// Open streams end with the right to them: token revoked, user deactivated, token or rules over.
#pragma once

#include "runtime/api/admission.h"
#include "runtime/api/api.h"

namespace soma::runtime::api {

// How often an open stream's caller is looked at again; and how long one that cannot be looked at
// (its actor does not answer) goes on.
inline constexpr std::int64_t kGuardEveryMs = 200;
inline constexpr std::int64_t kUnseenMs = 1000;

// A responder whose streams are cut within a second of the caller no longer being admitted, or its
// user no longer having `capability`: a last event `error` with `{error: {code, message}}`, then
// the end. All else passes through. `node`, `admission` outlive it.
http::Responder guard_streams(const Node& node, Admission& admission,
                              const security::Identity& caller, const std::string& capability,
                              const http::Responder& responder);

}  // namespace soma::runtime::api
