// One chat completion as it streams in: tokens out, and at the end an answer or why there is none.
#pragma once

#include <functional>
#include <string>

#include "runtime/effects/slm_client.h"
#include "runtime/effects/sse_parser.h"

namespace soma::runtime {

// The request's body for /chat/completions, streaming.
std::string chat_body(const v1::ModelRequest& request, const std::string& model);
// Unit vectors of an /embeddings answer, in order of the inputs.
Result<v1::EmbedResult> parse_embeddings(const std::string& body, std::size_t expected);
// What an HTTP status with an error body means.
Error http_failure(long status, const std::string& body);

class ChatStream {
 public:
  ChatStream(SlmEndpoint endpoint, v1::ModelRequest request, SlmClient::OnToken on_token);
  // False: stop reading, the answer is an error.
  bool feed(std::string_view bytes);
  // After the transfer ended with HTTP 200.
  Result<v1::ModelAnswer> finish(std::int64_t latency_ms);

 private:
  void event(std::string_view data);
  void bad(Code code, std::string message);

  const SlmEndpoint endpoint_;
  const v1::ModelRequest request_;
  const SlmClient::OnToken on_token_;
  SseParser parser_;
  v1::ModelAnswer answer_;
  std::uint32_t index_ = 0;
  bool done_ = false;
  Error error_;
  bool failed_ = false;
};

}  // namespace soma::runtime
