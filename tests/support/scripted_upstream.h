// An OpenAI-compatible model server whose behaviour is scripted; for tests and benchmarks only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "schemas/base/errors.h"
#include "tests/support/upstream_script.h"

namespace soma::test {

// One thread, epoll, on loopback. Routes: POST /v1/chat/completions, POST /v1/embeddings, GET
// /v1/models, GET /health; and to control it: PUT /control/script (a script, or its `next` to
// append), GET /control/stats, GET /control/requests (the last kKeptRequests). Thread-safe.
class ScriptedUpstream {
 public:
  static constexpr std::size_t kKeptRequests = 64;

  struct Seen {
    std::string method, path, headers, body;  // headers as they came
  };
  struct Stats {
    std::uint64_t connections = 0;  // accepted, ever
    std::uint64_t open = 0;
    std::uint64_t chats = 0;
    std::uint64_t embeddings = 0;
  };

  // Port 0: a free one.
  static Result<std::unique_ptr<ScriptedUpstream>> start(std::uint16_t port = 0,
                                                         Script script = {});
  virtual ~ScriptedUpstream() = default;
  virtual std::uint16_t port() const = 0;
  virtual void set(Script script) = 0;         // for all requests that come from now on
  virtual void next(Behaviour behaviour) = 0;  // for one request, after those already queued
  virtual void otherwise(Behaviour behaviour) = 0;
  virtual Stats stats() const = 0;
  virtual std::vector<Seen> requests() const = 0;  // the last, oldest first
  virtual void drop_connections() = 0;             // all that are open, at once

  std::string base_url() const { return "http://127.0.0.1:" + std::to_string(port()) + "/v1"; }
};

}  // namespace soma::test
