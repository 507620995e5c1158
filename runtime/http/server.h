// The HTTP/1.1 server: connections, limits, authentication, routing, answers, streams.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/http/router.h"
#include "runtime/http/tls.h"
#include "runtime/security/authenticator.h"
#include "runtime/telemetry/metrics.h"
#include "schemas/base/errors.h"

namespace soma::runtime::http {

// Turns a one-use ticket into a caller. Streams and sockets take one as `?ticket=`.
using TicketHook = std::function<std::optional<security::Identity>(std::string_view ticket)>;

// Called in the handler's place; calls it, or answers.
using GateHook =
    std::function<void(const Route&, const std::shared_ptr<Request>&, const Responder&)>;

struct ServerOptions {
  std::string listen = "127.0.0.1:8080";  // HOST:PORT, [V6]:PORT; port 0 picks a free one
  TlsFiles tls;                           // none: in the clear
  int io_threads = 1;                     // 1 .. 16; handlers run on them
  std::size_t body_limit = 1024 * 1024;   // bytes, unless the route says otherwise
  std::size_t header_limit = 16 * 1024;   // bytes of request line and fields
  std::size_t max_header_fields = 100;
  std::size_t url_limit = 8 * 1024;    // bytes
  std::size_t max_connections = 4096;  // beyond: accepted and closed with 503
  std::chrono::milliseconds header_timeout{10000};
  std::chrono::milliseconds body_timeout{10000};
  std::chrono::milliseconds idle_timeout{60000};   // between requests
  std::chrono::milliseconds write_timeout{30000};  // without progress
  std::chrono::milliseconds stream_keepalive{15000};
  bool strict_transport = false;  // browsers are told to come by HTTPS alone, for a year
  std::function<bool()> refuse_unknown_fields;  // asked for each request; none: they are ignored
  std::vector<std::string> cors_origins;        // exact origins; none: no CORS headers
  enum class AccessLog : std::uint8_t { kOff, kErrors, kAll } access_log = AccessLog::kErrors;
  std::string service = "soma";  // metric label
  Metrics* metrics = nullptr;    // outlives the server; null: no metrics
  TicketHook ticket;             // none: tickets are not taken
  GateHook gate;                 // none: handlers are called as they are
  bool heeds_hang_ups = false;   // a request whose client has closed before is not handled
};

// Turns the Authorization header (nothing: absent) into a caller; kUnauthenticated answers 401.
// Called on io threads for every route that is not public; must not block.
using AuthHook =
    std::function<Result<security::Identity>(std::optional<std::string_view> authorization)>;

// Owns its io threads. The router must outlive it. Handlers may still hold Responders after stop():
// their answers go nowhere.
class Server {
 public:
  static Result<std::unique_ptr<Server>> start(ServerOptions options, const Router& router,
                                               AuthHook auth);
  ~Server();  // as stop(0)
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  std::uint16_t port() const;
  std::string url() const;  // "http://127.0.0.1:8080"; https with TLS
  std::size_t connections() const;

  // Stops accepting, lets running requests finish and streams close for at most `drain_ms`, then
  // closes every connection and joins. Not from an io thread. Idempotent.
  void stop(int drain_ms);

  struct Impl;

 private:
  explicit Server(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace soma::runtime::http
