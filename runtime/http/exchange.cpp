// The checks that every request goes through, in one order, before a handler sees it.
#include "runtime/http/exchange.h"

#include <algorithm>
#include <charconv>

#include "runtime/http/json_strict.h"
#include "runtime/http/text.h"
#include "runtime/security/may.h"
#include "runtime/telemetry/log.h"
#include "runtime/telemetry/trace.h"
#include "schemas/base/ids.h"

namespace soma::runtime::http {
namespace {

constexpr std::size_t kMaxRequestId = 128;  // bytes; longer or odd ones are replaced
constexpr std::size_t kMaxIdempotencyKey = 255;

Response refuse(Code code, std::string message) {
  return problem(Error{code, std::move(message), {}});
}

Response refuse_status(int status, Code code, std::string message) {
  return problem_as(status, Error{code, std::move(message), {}});
}

// A name or address and a port; by anything else a reader before us may have meant another host.
bool is_host(std::string_view text) {
  constexpr std::string_view kAllowed = "-._~!$&'()*+,;=%:[]";
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           kAllowed.find(c) != kAllowed.npos;
  });
}

// Two readers must not see two bodies (request smuggling).
std::optional<Response> check_framing(const Head& head) {
  const auto bad = [](const char* why) { return refuse(Code::kMalformed, why); };
  const std::size_t lengths = head.headers.count("Content-Length");
  const std::size_t encodings = head.headers.count("Transfer-Encoding");
  if (lengths > 1) return bad("Content-Length stands more than once");
  if (encodings > 1) return bad("Transfer-Encoding stands more than once");
  if (lengths > 0 &&
      head.headers.get("Content-Length")->find_first_not_of("0123456789") != std::string_view::npos)
    return bad("Content-Length is not one number");  // "5, 5" is one to some readers only
  if (lengths > 0 && encodings > 0)
    return bad("Content-Length and Transfer-Encoding exclude each other");
  if (encodings > 0 && head.version < 11) return bad("Transfer-Encoding needs HTTP/1.1");
  if (encodings > 0 && !equal_without_case(*head.headers.get("Transfer-Encoding"), "chunked"))
    return refuse(Code::kNotSupported, "the only Transfer-Encoding known is chunked");
  const std::size_t hosts = head.headers.count("Host");
  if (hosts > 1 || (hosts == 0 && head.version >= 11)) return bad("exactly one Host is required");
  if (hosts == 1 && !is_host(*head.headers.get("Host"))) return bad("Host is no name or address");
  if (head.headers.count("Authorization") > 1) return bad("Authorization stands more than once");
  return {};
}

// Cuts the target into raw path and query. False: no form that we serve.
bool split_target(const Head& head, std::string& path, std::string& query) {
  std::string_view target = head.target;
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!target.starts_with(scheme)) continue;
    target.remove_prefix(scheme.size());
    const auto slash = target.find_first_of("/?");
    target = slash == target.npos ? std::string_view("/") : target.substr(slash);
    break;
  }
  if (target == "*") {
    path = "*";
    return head.method == "OPTIONS";
  }
  if (!target.starts_with('/') || target.find('#') != target.npos) return false;
  const bool visible =
      std::ranges::all_of(target, [](unsigned char c) { return c > 0x20 && c < 0x7F; });
  if (!visible) return false;
  const auto question = std::min(target.find('?'), target.size());
  path = target.substr(0, question);
  query = target.substr(std::min(question + 1, target.size()));
  return true;
}

void note_context(const Head& head, Request& request) {
  const auto id = head.headers.get("X-Request-ID");
  request.request_id = id && is_token_text(*id, kMaxRequestId) ? std::string(*id) : random_hex(16);
  request.traceparent = continue_trace(head.headers.get_or("traceparent", ""));
  request.last_event_id = head.headers.get_or("Last-Event-ID", "");
}

std::optional<Response> check_route(const Policy& policy, const std::string& path, Prepared& out) {
  Request& request = *out.request;
  const bool options = request.method == "OPTIONS";
  auto match = policy.router.match(request.method, path);
  if (options && (path == "*" || match.known_path)) {
    Response answer;
    answer.status = 204;
    answer.header("Allow",
                  path == "*" ? "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS" : match.allow);
    return answer;
  }
  if (!match.known_path) return refuse(Code::kNotFound, "no route has this path");
  if (match.route == nullptr) {
    Response answer = refuse(Code::kMethodNotAllowed, "this path takes " + match.allow);
    answer.header("Allow", match.allow);
    return answer;
  }
  out.route = match.route;
  request.route = match.route->pattern;
  request.params = std::move(match.params);
  request.path = percent_decode(path, false).value_or(path);
  if (request.method == "HEAD") {
    out.head_only = true;
    request.method = "GET";
  }
  return {};
}

// A browser can send no header with a socket or an event stream; it brings a ticket.
Result<security::Identity> identify(const Policy& policy, const Prepared& prepared,
                                    const std::string& raw_query) {
  const Request& request = *prepared.request;
  const auto authorization = request.headers.get("Authorization");
  const bool takes_ticket = prepared.route->streaming || prepared.route->websocket;
  if (takes_ticket && !authorization && policy.options.ticket)
    if (const auto query = parse_query(raw_query))
      if (const auto it = query->find("ticket"); it != query->end()) {
        if (auto identity = policy.options.ticket(it->second)) return std::move(*identity);
        return fail(Code::kUnauthenticated, "Invalid token");
      }
  return policy.auth(authorization);
}

// Of a page that is neither this server's nor named in the settings.
bool foreign_origin(const Policy& policy, const Request& request) {
  const auto origin = request.headers.get("Origin");
  if (!origin || std::ranges::count(policy.options.cors_origins, *origin)) return false;
  const auto scheme = origin->find("://");
  return scheme == origin->npos ||
         !equal_without_case(origin->substr(scheme + 3), request.headers.get_or("Host", ""));
}

bool only_reads(const std::string& method) {
  return method == "GET" || method == "HEAD" || method == "OPTIONS";
}

std::optional<Response> check_caller(const Policy& policy, const Prepared& prepared,
                                     const std::string& raw_query) {
  if (prepared.route->capability == "public") return {};
  Request& request = *prepared.request;
  if (!policy.auth) return refuse(Code::kUnauthenticated, "Missing bearer token");
  auto identity = identify(policy, prepared, raw_query);
  if (!identity) return problem(identity.error());
  // Any page may send requests to any host, and here nothing else says who sent them.
  if (identity->anonymous && !only_reads(request.method) && foreign_origin(policy, request))
    return refuse(Code::kForbidden,
                  "without a token a page acts only if its origin is one of http.cors_origins");
  if (const auto tenant = request.headers.get("X-Tenant-ID");
      tenant && *tenant != identity->principal.tenant())
    return refuse(Code::kForbidden, "X-Tenant-ID is not the tenant of the token");
  if (auto ok = security::may(identity->principal, prepared.route->capability); !ok)
    return problem(ok.error());
  static constexpr std::string_view kClients[] = {"web", "ide", "mobile", "cli", "bot"};
  if (const auto client = request.headers.get("X-Client-Type");
      client && std::ranges::count(kClients, *client))
    identity->principal.set_client_type(std::string(*client));
  request.principal = identity->principal;
  request.identity = std::move(*identity);
  return {};
}

bool refuses_unknown_fields(const ServerOptions& options) {
  return options.refuse_unknown_fields && options.refuse_unknown_fields();
}

std::optional<Response> check_query(const Policy& policy, const std::string& raw, Prepared& out) {
  auto query = parse_query(raw);
  if (!query) return refuse(Code::kMalformed, "the query string cannot be decoded");
  const auto errors =
      validate_query(out.route->query, *query, refuses_unknown_fields(policy.options));
  if (!errors.empty())
    return problem(
        Error{Code::kInvalidArgument, "query." + errors[0].loc.back() + " " + errors[0].msg, {}},
        errors);
  out.request->query = std::move(*query);
  return {};
}

std::optional<Response> check_upgrade(const Policy& policy, const Prepared& out) {
  if (!out.route->websocket) return {};
  const Request& request = *out.request;
  const auto is = [&](const char* name, std::string_view wanted) {
    return equal_without_case(request.headers.get_or(name, ""), wanted);
  };
  if (out.head_only || !is("Upgrade", "websocket") || !is("Sec-WebSocket-Version", "13")) {
    Response answer =
        refuse_status(426, Code::kMalformed, "this path speaks WebSocket, version 13, only");
    answer.header("Upgrade", "websocket").header("Sec-WebSocket-Version", "13");
    return answer;
  }
  if (request.headers.get_or("Sec-WebSocket-Key", "").size() != 24)
    return refuse(Code::kMalformed, "Sec-WebSocket-Key must be 16 bytes in base64");
  // Any page may open a socket to any host: where no token is needed nothing else would stop it.
  if (foreign_origin(policy, request))
    return refuse(Code::kForbidden, "the page's origin is not one of http.cors_origins");
  return {};
}

std::optional<Response> check_idempotency_key(Request& request) {
  const std::size_t count = request.headers.count("Idempotency-Key");
  if (count == 0) return {};
  const auto key = *request.headers.get("Idempotency-Key");
  if (count > 1 || key.empty() || key.size() > kMaxIdempotencyKey ||
      !std::ranges::all_of(key, [](unsigned char c) { return c >= 0x20 && c < 0x7F; }))
    return field_error({"header", "Idempotency-Key"},
                       "must be one text of 1 to 255 visible ASCII characters", "invalid");
  request.idempotency_key = key;
  return {};
}

std::optional<Response> check_position(const Request& request) {
  const auto text = request.headers.get("Soma-Position");
  if (!text || parse_position(*text)) return {};
  return field_error({"header", "Soma-Position"}, "must be PARTITION/OFFSET", "position");
}

// Nothing when the header names no length; the parser has proved it a number.
std::uint64_t declared_length(const Headers& headers) {
  std::uint64_t length = 0;
  if (const auto text = headers.get("Content-Length"))
    std::from_chars(text->data(), text->data() + text->size(), length);
  return length;
}

std::optional<Response> check_body_head(const Policy& policy, Prepared& out) {
  const Headers& headers = out.request->headers;
  out.body_limit = out.route->body_limit > 0 ? out.route->body_limit : policy.options.body_limit;
  const std::uint64_t length = declared_length(headers);
  const bool chunked = headers.count("Transfer-Encoding") > 0;
  if (length > out.body_limit)
    return refuse(Code::kTooLarge,
                  "the body may have at most " + std::to_string(out.body_limit) + " bytes");
  const bool has_body = length > 0 || chunked;
  if (has_body && out.route->request && !out.route->raw_body &&
      !is_json_content_type(headers.get_or("Content-Type", "")))
    return refuse(Code::kUnsupportedMediaType, "the body must be application/json");
  if (has_body && headers.count("Content-Encoding") > 0 &&
      !equal_without_case(*headers.get("Content-Encoding"), "identity"))
    return refuse(Code::kUnsupportedMediaType, "the body may not be compressed");
  if (const auto expect = headers.get("Expect")) {
    if (!equal_without_case(*expect, "100-continue"))
      return refuse_status(417, Code::kMalformed, "the only expectation known is 100-continue");
    out.expects_continue = has_body;
  }
  return {};
}

}  // namespace

Prepared prepare(const Policy& policy, Head head) {
  Prepared out;
  out.request = std::make_shared<Request>();
  Request& request = *out.request;
  out.head_only = head.method == "HEAD";
  note_context(head, request);
  if (auto bad = check_framing(head)) {
    out.early = std::move(bad);
    out.must_close = true;
    return out;
  }
  std::string path;
  std::string query;
  if (head.headers.all().size() > policy.options.max_header_fields)
    out.early =
        refuse(Code::kHeadersTooLarge,
               "more than " + std::to_string(policy.options.max_header_fields) + " header fields");
  else if (head.target.size() > policy.options.url_limit)
    out.early = refuse_status(
        414, Code::kMalformed,
        "the URL is longer than " + std::to_string(policy.options.url_limit) + " bytes");
  else if (!split_target(head, path, query))
    out.early = refuse(Code::kMalformed, "the request target cannot be read");
  // What follows a tunnel that was asked for is not meant for us.
  out.must_close = head.method == "CONNECT";
  request.method = std::move(head.method);
  request.headers = std::move(head.headers);
  request.remote = std::move(head.remote);
  if (!out.early) out.early = check_route(policy, path, out);
  if (!out.early) out.early = check_body_head(policy, out);
  if (!out.early) out.early = check_upgrade(policy, out);
  if (!out.early) out.early = check_caller(policy, out, query);
  if (!out.early) out.early = check_query(policy, query, out);
  if (!out.early) out.early = check_idempotency_key(request);
  if (!out.early && out.route->capability != "public") out.early = check_position(request);
  return out;
}

std::optional<Response> take_body(const Policy& policy, const Prepared& prepared,
                                  std::string body) {
  Request& request = *prepared.request;
  request.body = std::move(body);
  const Route& route = *prepared.route;
  if (!route.request || route.raw_body) return {};
  if (request.body.empty()) {
    request.json.emplace_object();
  } else {
    auto json = parse_json_strict(request.body);
    if (!json) return problem(json.error());
    request.json = std::move(*json);
  }
  const auto errors =
      validate(*route.request, request.json, refuses_unknown_fields(policy.options));
  if (errors.empty()) return {};
  std::string where;
  for (const auto& part : errors[0].loc) (where += where.empty() ? "" : ".") += part;
  return problem(Error{Code::kInvalidArgument, where + " " + errors[0].msg, {}}, errors);
}

}  // namespace soma::runtime::http
