// One thread that runs many HTTP requests over libcurl and epoll; connections are kept.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/effects/client_tls.h"

namespace soma::runtime {

struct HttpEnd {
  enum class Kind : std::uint8_t {
    kComplete,     // an answer came whole, whatever its status
    kRefused,      // on_bytes said stop
    kTimedOut,     // connecting, idle or in all
    kDeadline,     // the call's own deadline
    kUnreachable,  // no connection
    kBroken,       // the connection ended before the answer did
    kTooLong,      // the body is over its limit
    kOverloaded,   // too many wait for this server
    kHeld,         // `before` said no, or nothing in kBeforeMs
    kCancelled,
    kStopping,
  };
  Kind kind = Kind::kComplete;
  long status = 0;
  std::string body;  // unless it went to on_bytes
  std::string why;   // libcurl's words
  std::int64_t retry_after_ms = 0;
  std::int64_t took_ms = 0;  // since the request was sent
  bool sent = false;         // something of it went out, so that it may have been seen
};

struct HttpCall {
  enum class Next : std::uint8_t {
    kMore,
    kStop,      // the answer is bad: drop the connection
    kFinished,  // all that matters has come: on_end at once; the rest is read for the connection's
                // sake
  };
  std::string id;    // for cancel; may be empty
  std::string lane;  // calls of one lane share `lane_limit`
  std::size_t lane_limit = 256;
  std::string url;
  bool post = true;
  bool direct = false;  // never through a proxy of the environment
  std::string body;
  std::vector<std::string> headers;
  std::int64_t connect_timeout_ms = 5'000, idle_timeout_ms = 30'000, total_timeout_ms = 300'000;
  std::int64_t deadline_ms = 0;      // Unix time, waiting included; 0: none
  std::size_t max_body = 64 * 1024;  // of what is kept in HttpEnd::body
  // Given: gets the bytes of an answer with status 200 as they arrive, with its content type.
  std::function<Next(std::string_view bytes, std::string_view content_type)> on_bytes;
  // Given: asked when the call has left its lane's queue and is about to be sent. It says once,
  // from any thread, whether it may; a call that may not ends with kHeld. Its place in the lane is
  // kept meanwhile, for kBeforeMs at most.
  static constexpr std::int64_t kBeforeMs = 2'000;
  std::function<void(std::function<void(bool go)>)> before;
  std::function<void(HttpEnd)> on_end;  // exactly once
};

// Callbacks run on the loop's thread and must not block; they may start and cancel calls.
// Thread-safe.
class HttpLoop {
 public:
  explicit HttpLoop(std::size_t max_waiting_per_lane, ClientTls tls = {});
  ~HttpLoop();
  HttpLoop(const HttpLoop&) = delete;
  HttpLoop& operator=(const HttpLoop&) = delete;

  void start(std::unique_ptr<HttpCall> call);
  void cancel(const std::string& id);
  // Runs `what` once; at once, with `stopping`, when the loop ends. False: it has ended, nothing is
  // run.
  bool after(std::int64_t ms, std::function<void(bool stopping)> what);
  void stop();  // ends what is under way with kStopping; start() after it does the same

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace soma::runtime
