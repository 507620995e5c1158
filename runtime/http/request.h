// What a handler gets and gives: request, response, and the helpers that make the house's answers.
#pragma once

#include <boost/json/value.hpp>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/security/authenticator.h"
#include "schemas/base/errors.h"
#include "soma/v1/common.pb.h"

namespace soma::runtime::http {

// Header fields in order of arrival; names compare without case.
class Headers {
 public:
  void add(std::string name, std::string value);
  void set(std::string_view name, std::string value);                // replaces all of that name
  std::optional<std::string_view> get(std::string_view name) const;  // the first
  std::string get_or(std::string_view name, std::string_view fallback) const;
  std::size_t count(std::string_view name) const;
  const std::vector<std::pair<std::string, std::string>>& all() const { return fields_; }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

struct Request {
  std::string method;                             // as sent; HEAD reaches the GET handler as "GET"
  std::string path;                               // decoded, without the query
  std::string route;                              // the pattern that matched: "/v1/sessions/{id}"
  std::map<std::string, std::string> params;      // path parameters, decoded, never empty
  std::multimap<std::string, std::string> query;  // decoded
  Headers headers;
  std::string body;
  boost::json::value json;      // an object when the route has a request schema
  v1::Principal principal;      // empty on public routes
  security::Identity identity;  // the same caller with token id and expiry
  std::string request_id;       // X-Request-ID, or made here; echoed
  std::string traceparent;      // our span, child of the caller's
  std::string idempotency_key;  // Idempotency-Key; empty: none
  std::uint32_t key_round = 1;  // +1 each time an earlier use of the key was refused
  bool replayed = false;        // an earlier request with the key had begun
  std::string remote;           // address of the peer
  std::string last_event_id;    // Last-Event-ID
  // When that earlier request claimed the key, Unix ms; 0: there was none, or it is not known.
  std::int64_t key_claimed_ms = 0;

  const std::string& tenant() const { return principal.tenant(); }
  const std::string& param(std::string_view name) const;                // must be in the pattern
  std::optional<std::string> query_value(std::string_view name) const;  // the first
  // As validated by Route::query; `fallback` when absent.
  std::int64_t query_int(std::string_view name, std::int64_t fallback) const;
  bool query_bool(std::string_view name, bool fallback = false) const;
};

struct Response {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;  // beside those the server writes
  std::string body;
  std::string content_type = "application/json";
  bool settled = false;  // a failure whose outcome is known: a retry with the same key runs anew
  // A success whose command led to events, and makes it again by itself: it is not recorded beside
  // them (ADR 0026).
  bool in_history = false;

  Response& header(std::string name, std::string value) {
    headers.emplace_back(std::move(name), std::move(value));
    return *this;
  }
};

// One entry of a 422's errors[]: where ("body", "prompt"), a sentence, a stable type ("missing").
struct FieldError {
  std::vector<std::string> loc;
  std::string msg;
  std::string type;
};

Response json_response(int status, const boost::json::value& value);
Response text_response(int status, std::string text, std::string content_type = "text/plain");
// RFC 9457. The detail of codes that are not public is replaced by a general sentence. A non-empty
// Error::field becomes the one entry of errors[] on 422.
Response problem(const Error& error);
Response problem(const Error& error, const std::vector<FieldError>& errors);
// With another status than the code's own, where HTTP has a finer one (408, 414, 417).
Response problem_as(int status, const Error& error);
// 422 for one field: field_error({"body", "prompt"}, "must not be empty", "too_short").
Response field_error(std::vector<std::string> loc, std::string msg, std::string type);
// `Retry-After` in whole seconds beside any problem.
Response problem_retry(const Error& error, int retry_after_s);

}  // namespace soma::runtime::http
