// A small blocking HTTP client for tools.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/effects/client_tls.h"
#include "schemas/base/errors.h"

namespace soma::runtime {

struct HttpReply {
  long status = 0;
  std::string body;
  std::map<std::string, std::string> headers;  // names in lower case
};

struct BlockingCall {
  std::string method = "GET";
  std::string url;
  std::vector<std::string> headers;  // "Name: value"
  std::string body;
  // Set: bytes of a 200 body as they come; false ends the call. The reply's body is then empty.
  std::function<bool(std::string_view)> on_bytes;
  std::function<bool()> on_idle;  // asked about once a second; false ends the call
  long timeout_ms = 0;            // 0: none
  ClientTls tls;
};

// kUnavailable when the server cannot be reached. Not for the hot path: one connection a call.
Result<HttpReply> http_call(const BlockingCall& call);

}  // namespace soma::runtime
