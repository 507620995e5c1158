// What all ways to a new session share.
#pragma once

#include <boost/json/object.hpp>

#include "runtime/api/submit.h"
#include "soma/v1/session.pb.h"

namespace soma::runtime::api {

// True when the kill switch is on: answered with 503.
bool killed(const Node& node, const http::Responder& responder);

// A session of a new id from the events of another; 201 with where it comes from, and `more`.
void submit_fork(const Node& node, const RequestPtr& request, const http::Responder& responder,
                 const v1::ForkSession& fork, boost::json::object more = {});

}  // namespace soma::runtime::api
