// What stands before every handler that a caller reaches with a token.
#pragma once

#include <memory>

#include "runtime/api/admission.h"
#include "runtime/api/api.h"
#include "runtime/api/keys.h"
#include "runtime/api/rate_limiter.h"

namespace soma::runtime::api {

// Admission, then the rate limits, then the idempotency key of a write, then the handler. Outlives
// the server.
class Gate {
 public:
  Gate(const Node& node, Admission& admission, RateLimiter& rates, Keys& keys)
      : node_(node), admission_(admission), rates_(rates), keys_(keys) {}
  void handle(const http::Route& route, const std::shared_ptr<http::Request>& request,
              const http::Responder& responder);

 private:
  void limit(const http::Route& route, const std::shared_ptr<http::Request>& request,
             const http::Responder& responder);
  void enter(const http::Route& route, const std::shared_ptr<http::Request>& request,
             const http::Responder& responder);

  const Node& node_;
  Admission& admission_;
  RateLimiter& rates_;
  Keys& keys_;
};

}  // namespace soma::runtime::api
