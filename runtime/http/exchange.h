// One request on its way through the server, without sockets: from header fields to a checked
// request.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "runtime/http/server.h"

namespace soma::runtime::http {

// The request line and fields as the parser read them.
struct Head {
  std::string method;
  std::string target;
  unsigned version = 11;  // 10 or 11
  Headers headers;
  std::string remote;
};

// What is known once the header has been read. With `early`, the handler is not called.
struct Prepared {
  std::shared_ptr<Request> request;
  const Route* route = nullptr;
  std::optional<Response> early;
  std::size_t body_limit = 0;
  bool head_only = false;  // HEAD
  bool expects_continue = false;
  bool must_close = false;  // the bytes that follow cannot be trusted
};

struct Policy {
  const ServerOptions& options;
  const Router& router;
  const AuthHook& auth;
};

// Every check that needs no body: form, limits, route, caller, tenant, capability, query, media
// type.
Prepared prepare(const Policy& policy, Head head);

// The body's checks: JSON and schema. A response when it is refused.
std::optional<Response> take_body(const Policy& policy, const Prepared& prepared, std::string body);

// Status line and fields, up to and with the empty line.
struct HeadFacts {
  const Request* request = nullptr;  // null: the request could not be read
  const ServerOptions* options = nullptr;
  bool close = false;
  bool chunked = false;
  std::string_view date;  // IMF-fixdate
};
std::string response_head(const Response& response, const HeadFacts& facts);

// A whole answer for who has asked nothing yet: the problem, and the end of the connection.
std::string last_words(const Error& why);

}  // namespace soma::runtime::http
