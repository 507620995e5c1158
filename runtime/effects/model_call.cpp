// How requests to a model server begin and why they fail.
#include "runtime/effects/model_call.h"

#include <algorithm>
#include <utility>

#include "runtime/effects/chat_stream.h"

namespace soma::runtime {

// Why a request that got no proper answer failed.
Error failure(const HttpEnd& end) {
  using Kind = HttpEnd::Kind;
  switch (end.kind) {
    case Kind::kTimedOut:
      return {Code::kModelUnavailable, "the model server did not answer in time", {}, 0};
    case Kind::kDeadline:
      return {Code::kDeadlineExceeded, "the deadline passed before the model had answered", {}, 0};
    case Kind::kUnreachable:
      return {Code::kModelUnavailable, "the model server cannot be reached: " + end.why, {}, 0};
    case Kind::kBroken:
      return {Code::kModelUnavailable, "the model server broke off: " + end.why, {}, 0};
    case Kind::kTooLong:
      return {Code::kModelUnavailable, "the model server's answer is too long", {}, 0};
    case Kind::kOverloaded:
      return {Code::kOverloaded, "too many requests wait for the model server", {}, 0};
    case Kind::kHeld:
      return {Code::kLocked, "the call was not let go in time", {}, 0};
    case Kind::kCancelled:
      return {Code::kCancelled, "the call was cancelled", {}, 0};
    case Kind::kStopping:
      return {Code::kUnavailable, "the node is stopping", kStopping, 0};
    case Kind::kComplete:
    case Kind::kRefused:
      break;
  }
  Error e = http_failure(end.status, end.body);
  e.retry_after_ms = end.retry_after_ms;
  return e;
}

Error without_key(Error error, std::string_view api_key) {
  constexpr std::size_t kPiece = 8;
  const std::size_t piece = std::min(kPiece, api_key.size());
  const std::string said = std::exchange(error.message, {});
  std::size_t shown = 0;  // up to here it is in the message
  for (std::size_t at = 0; piece > 0 && at + piece <= said.size();) {
    if (api_key.find(std::string_view(said).substr(at, piece)) == api_key.npos) {
      ++at;
      continue;
    }
    std::size_t end = at + piece;
    while (end < said.size() &&
           api_key.find(std::string_view(said).substr(end - piece + 1, piece)) != api_key.npos)
      ++end;
    error.message.append(said, shown, at - shown).append("***");
    shown = at = end;
  }
  error.message.append(said, shown);
  return error;
}

bool answered(const HttpEnd& end) {
  return end.kind == HttpEnd::Kind::kComplete && end.status == 200;
}

std::unique_ptr<HttpCall> new_call(const SlmEndpoint& e, const char* path) {
  auto call = std::make_unique<HttpCall>();
  call->lane = e.base_url;
  call->lane_limit = e.max_concurrent;
  call->url = e.base_url + path;
  call->connect_timeout_ms = e.connect_timeout_ms;
  call->idle_timeout_ms = e.idle_timeout_ms;
  call->total_timeout_ms = e.total_timeout_ms;
  call->headers.push_back("Content-Type: application/json");
  if (!e.api_key.empty()) call->headers.push_back("Authorization: Bearer " + e.api_key);
  return call;
}

}  // namespace soma::runtime
