// A client of OpenAI-compatible model servers: chat streams and embeddings, over libcurl.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "schemas/base/errors.h"
#include "soma/v1/memory.pb.h"
#include "soma/v1/model.pb.h"

namespace soma::runtime {

struct SlmEndpoint {
  std::string base_url;            // "http://127.0.0.1:9000/v1"
  std::string api_key;             // secret
  std::string model;               // when the request names none
  std::string provider = "openai"; // as recorded
  long connect_timeout_ms = 5000;
  long idle_timeout_s = 30;        // no byte for so long: given up
  long total_timeout_s = 300;
  std::size_t max_answer_bytes = 4 << 20;
};

// Owns one thread. Thread-safe. A stream counts as an answer only when it ended properly: finish_reason seen and [DONE]
// received; anything else is kModelUnavailable (retryable), kRateLimited, kDeadlineExceeded, kCancelled, or
// kInvalidArgument (the server refused the request; not retryable).
class SlmClient {
 public:
  using OnToken = std::function<void(std::uint32_t index, const std::string& text)>;   // on the client's thread
  using OnAnswer = std::function<void(Result<v1::ModelAnswer>)>;
  using OnEmbeddings = std::function<void(Result<v1::EmbedResult>)>;
  // Where to send a request at this moment; an error is passed on to the caller.
  using Resolve = std::function<Result<SlmEndpoint>()>;

  static std::unique_ptr<SlmClient> create();
  virtual ~SlmClient() = default;
  virtual void chat(const SlmEndpoint& endpoint, const v1::ModelRequest& request, const std::string& traceparent,
                    OnToken on_token, OnAnswer on_answer) = 0;
  // Unit vectors, one per text.
  virtual void embed(const SlmEndpoint& endpoint, const std::vector<std::string>& texts, OnEmbeddings done) = 0;
  virtual void cancel(const std::string& call_id) = 0;
};

}  // namespace soma::runtime
