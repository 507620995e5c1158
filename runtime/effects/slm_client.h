// A client of OpenAI-compatible model servers: chat streams and embeddings, over libcurl.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/effects/client_tls.h"
#include "schemas/base/errors.h"
#include "soma/v1/memory.pb.h"
#include "soma/v1/model.pb.h"

namespace soma::runtime {

struct SlmEndpoint {
  std::string base_url;             // "http://127.0.0.1:9000/v1"
  std::string api_key;              // secret
  std::string model;                // when the request names none
  std::string provider = "openai";  // as recorded
  std::int64_t connect_timeout_ms = 5'000;
  std::int64_t idle_timeout_ms = 30'000;  // no byte for so long: given up
  std::int64_t total_timeout_ms =
      300'000;  // from the first byte sent; a request's deadline may be sooner
  std::size_t max_answer_bytes = 128 * 1024;  // several copies of an answer must fit into one frame
  std::size_t max_concurrent = 256;   // requests under way at this server; others wait in order
  std::size_t embed_batch = 8;        // texts per request; large batches are slow on small servers
  std::size_t embed_piece_bytes = 0;  // longer texts are embedded in pieces, and averaged; 0: whole
};

// Error::field of an endpoint that is off by the settings: waiting for it is of no use.
inline constexpr char kNoModel[] = "slm.off";
// Error::field of a call that ended, sent or not, because this node stops: no fault of the model.
inline constexpr char kStopping[] = "node.stopping";

// Owns one thread; callbacks run on it, exactly once for each call, and must not block.
// Thread-safe. A stream counts as an answer only when it ended properly: finish_reason seen and
// [DONE] received. Anything else is an error: kModelUnavailable, kRateLimited (with
// retry_after_ms), kDeadlineExceeded or kOverloaded (retryable), kCancelled, kTooLarge, or
// kInvalidArgument (the server refused the request). A chat that was never sent, as no connection
// came about or the node is stopping, is kUnavailable (retryable).
class SlmClient {
 public:
  using OnToken = std::function<void(std::uint32_t index, const std::string& text)>;
  using OnAnswer = std::function<void(Result<v1::ModelAnswer>)>;
  using OnEmbeddings = std::function<void(Result<v1::EmbedResult>)>;
  using OnModels = std::function<void(Result<std::vector<std::string>>)>;
  // Where to send a request at this moment; an error is passed on to the caller.
  using Resolve = std::function<Result<SlmEndpoint>()>;

  static constexpr std::size_t kMaxQueued = 20'000;    // per server; beyond it kOverloaded
  static constexpr std::size_t kMaxTexts = 256;        // per embed call
  static constexpr std::int64_t kStartWaitMs = 3'000;  // for a server that is (re)starting

  static std::unique_ptr<SlmClient> create(ClientTls tls = {});
  virtual ~SlmClient() = default;  // stops
  // What is under way ends with kUnavailable, and what is asked for later does so at once.
  virtual void stop() = 0;
  // `before`: asked when the call is about to be sent; see HttpCall::before. One that may not be
  // ends with kLocked, as does one of which nothing was said in time.
  using Before = std::function<void(std::function<void(bool go)>)>;
  virtual void chat(const SlmEndpoint& endpoint, const v1::ModelRequest& request,
                    const std::string& traceparent, OnToken on_token, OnAnswer on_answer,
                    Before before = {}) = 0;
  // Unit vectors, one per text.
  virtual void embed(const SlmEndpoint& endpoint, const std::vector<std::string>& texts,
                     OnEmbeddings done) = 0;
  // The names that GET /models tells.
  virtual void models(const SlmEndpoint& endpoint, OnModels done) = 0;
  // Calls back with an endpoint as soon as there is one: at once, or when it has come up within
  // kStartWaitMs, else with the last error.
  virtual void when_ready(Resolve resolve, std::function<void(Result<SlmEndpoint>)> done) = 0;
  // Ends all chats with this call id; unknown ids are ignored.
  virtual void cancel(const std::string& call_id) = 0;
};

}  // namespace soma::runtime
