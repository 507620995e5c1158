// Routes that may wait: for the log, for other nodes.
#pragma once

#include "runtime/api/submit.h"

namespace soma::runtime::api {

// `serve(node, request, responder)` off the server's thread.
template <typename Serve>
auto slowly(const Node& node, Serve serve) {
  return [&node, serve](RequestPtr r, http::Responder responder) {
    node.slow->post([&node, serve, r, responder] { serve(node, r, responder); });
  };
}

}  // namespace soma::runtime::api
