// Idempotency-Key of every write: claimed once, run once, answered alike; duplicates wait.
#pragma once

#include <memory>

#include "runtime/api/api.h"

namespace soma::runtime::api {

// Stands before the handlers of requests that carry a key (gate.h).
// Thread-safe; outlives the server. A key belongs to one request of its tenant; the claim and the
// answer are events, so both outlive a restart. A request refused (4xx) at its first run leaves the
// key free; a later run, whose first may have been applied, does not. An answer over kMaxKeptBody,
// one that holds a secret, a success that is `in_history` (command_history.h) and a stream are not
// kept: such a request runs again, and its command's recorded reply makes the same of it.
class Keys {
 public:
  static constexpr std::size_t kMaxKeptBody = 256 * 1024;  // bytes
  static constexpr std::size_t kMaxWaiting = 64;           // duplicates of one running request
  static constexpr std::int64_t kMaxWaitMs = 30'000;

  explicit Keys(const Node& node);
  ~Keys();
  Keys(const Keys&) = delete;
  Keys& operator=(const Keys&) = delete;

  void handle(const http::Route& route, const std::shared_ptr<http::Request>& request,
              const http::Responder& responder);

 private:
  struct Table;
  const Node& node_;
  std::shared_ptr<Table> table_;
};

}  // namespace soma::runtime::api
