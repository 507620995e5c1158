// One chat completion as it streams in: tokens out, and at the end an answer or why there is none.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/effects/slm_client.h"
#include "runtime/effects/sse_parser.h"

namespace soma::runtime {

// The request's body for /chat/completions, streaming.
std::string chat_body(const v1::ModelRequest& request, const std::string& model);
// What an HTTP status with an error body means.
Error http_failure(long status, std::string_view body);

// Not thread-safe.
class ChatStream {
 public:
  static constexpr std::size_t kMaxEventBytes = 1 << 20;

  ChatStream(SlmEndpoint endpoint, v1::ModelRequest request, SlmClient::OnToken on_token);

  enum class State { kOpen, kDone, kBad };
  // Bytes of an answer with status 200. kDone: [DONE] has come. kBad: the answer is an error.
  State feed(std::string_view bytes, std::string_view content_type);
  // After the end of the transfer, or after kDone or kBad.
  Result<v1::ModelAnswer> finish(std::int64_t latency_ms);

 private:
  void event(std::string_view data);
  void choice(const void* json_value);
  void append(std::string_view text);
  void bad(Code code, std::string message);
  void too_large();

  const SlmEndpoint endpoint_;
  const v1::ModelRequest request_;
  const SlmClient::OnToken on_token_;
  SseParser parser_;
  v1::ModelAnswer answer_;
  std::uint32_t index_ = 0;
  bool done_ = false;
  bool checked_type_ = false;
  std::string not_a_stream_;  // what came instead, for its error message
  std::optional<Error> error_;
};

}  // namespace soma::runtime
