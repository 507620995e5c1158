// Requests that come another way than over a socket: the same checks, keys and handlers.
#pragma once

#include <functional>
#include <string>

#include "runtime/http/exchange.h"

namespace soma::runtime::http {

// Thread-safe. Router and hooks outlive it.
class InProcess {
 public:
  InProcess(ServerOptions options, const Router& router, AuthHook auth)
      : options_(std::move(options)), router_(router), auth_(std::move(auth)) {}

  // Calls `done` once, from any thread, perhaps before it returns. A stream is refused.
  void call(Head head, std::string body, std::function<void(Response)> done) const;

 private:
  const ServerOptions options_;
  const Router& router_;
  const AuthHook auth_;
};

}  // namespace soma::runtime::http
