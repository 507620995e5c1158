// What a session would have been, as JSON; and over HTTP.
#pragma once

#include <boost/json/object.hpp>
#include <string>

#include "runtime/api/submit.h"
#include "runtime/verify/what_if.h"

namespace soma::runtime::api {

class Queue;

// {session, simulated, diverges, commands_reused, at, live, recorded, what_if}; `live` null and
// `simulated` true: nothing was called.
boost::json::object what_if_json(const std::string& session, const WhatIf& w,
                                 const v1::SessionState& recorded, const v1::SessionState& other);

// The field `what_if` of POST /v1/replay, and its answer for the caller's session `id`. Reads the
// session's part of the journal within stated limits; writes and calls nothing.
http::Field what_if_field();
void replay_otherwise(const Node& node, Queue& queue, const RequestPtr& r,
                      const http::Responder& responder, const std::string& id);

}  // namespace soma::runtime::api
