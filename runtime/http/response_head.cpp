// Status line and header fields of an answer; values from outside cannot break out of their line.
#include <algorithm>

#include "runtime/http/exchange.h"
#include "runtime/http/text.h"

namespace soma::runtime::http {
namespace {

void append_field(std::string& out, std::string_view name, std::string_view value) {
  out += name;
  out += ": ";
  for (const char c : value) {
    const auto u = static_cast<unsigned char>(c);
    out += u < 0x20 || u == 0x7F ? ' ' : c;
  }
  out += "\r\n";
}

void append_cors(std::string& out, const HeadFacts& facts) {
  const auto& allowed = facts.options->cors_origins;
  if (allowed.empty()) return;
  append_field(out, "Vary", "Origin");
  const auto origin = facts.request->headers.get("Origin");
  if (!origin || !std::ranges::count(allowed, *origin)) return;
  append_field(out, "Access-Control-Allow-Origin", *origin);
  append_field(out, "Access-Control-Expose-Headers",
               "ETag, Soma-Position, X-Request-ID, Retry-After, Idempotent-Replayed");
  if (facts.request->method == "OPTIONS") {
    append_field(out, "Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, DELETE, PATCH");
    append_field(out, "Access-Control-Allow-Headers",
                 "Authorization, Content-Type, Idempotency-Key, If-Match, Last-Event-ID, "
                 "Soma-Position, X-Request-ID, X-Tenant-ID, X-Client-Type, traceparent");
    append_field(out, "Access-Control-Max-Age", "600");
  }
}

}  // namespace

std::string response_head(const Response& response, const HeadFacts& facts) {
  std::string out;
  out.reserve(320);
  out += "HTTP/1.1 ";
  out += std::to_string(response.status);
  out += ' ';
  out += status_text(response.status);
  out += "\r\n";
  if (!facts.date.empty()) append_field(out, "Date", facts.date);
  const bool bodiless = response.status == 204 || response.status == 304;
  if (!bodiless && !response.content_type.empty())
    append_field(out, "Content-Type", response.content_type);
  if (facts.chunked)
    out += "Transfer-Encoding: chunked\r\n";
  else if (!bodiless && response.content_type != "text/event-stream")
    append_field(out, "Content-Length", std::to_string(response.body.size()));
  bool caching = false;
  for (const auto& [name, value] : response.headers) {
    append_field(out, name, value);
    caching = caching || equal_without_case(name, "Cache-Control");
  }
  if (!caching) out += "Cache-Control: no-store\r\n";
  out += "X-Content-Type-Options: nosniff\r\n";
  if (facts.options != nullptr && facts.options->strict_transport)
    out += "Strict-Transport-Security: max-age=31536000; includeSubDomains\r\n";
  if (facts.request != nullptr) {
    append_field(out, "X-Request-ID", facts.request->request_id);
    append_cors(out, facts);
  }
  if (facts.close) out += "Connection: close\r\n";
  out += "\r\n";
  return out;
}

std::string last_words(const Error& why) {
  const Response answer = problem(why);
  HeadFacts facts;
  facts.close = true;
  return response_head(answer, facts) + answer.body;
}

}  // namespace soma::runtime::http
