// The TLS context of a server, made anew when its files change; private to this room.
#pragma once

#include <boost/asio/ssl/context.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/http/tls.h"
#include "runtime/telemetry/metrics.h"
#include "schemas/base/errors.h"

namespace soma::runtime::http {

// TLS 1.2 and 1.3, suites with forward secrecy and authenticated encryption only, no renegotiation;
// no resumption where clients are asked for certificates, as each is to be looked at anew.
// Not thread-safe: for the thread that accepts.
class TlsKeeper {
 public:
  using Context = std::shared_ptr<boost::asio::ssl::context>;
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::seconds kLookAgain{1};

  // `metrics` may be null. kInvalidArgument names the setting whose file is at fault.
  static Result<std::unique_ptr<TlsKeeper>> open(TlsFiles files, const std::string& service,
                                                 Metrics* metrics);
  // For the next handshake. Looks at the files, if the last look is kLookAgain ago.
  const Context& current(Time now);

 private:
  struct Stamp {
    std::int64_t device = 0, inode = 0, size = -1, written_ns = 0, changed_ns = 0;
    bool operator==(const Stamp&) const = default;
  };
  explicit TlsKeeper(TlsFiles files) : files_(std::move(files)) {}
  std::vector<Stamp> stamps() const;
  Status read();

  const TlsFiles files_;
  std::string service_;
  std::vector<Stamp> seen_;  // empty: to be read at the next look
  std::string told_;         // why they could not be read, as logged
  Time looked_{};
  Context context_;
  Gauge not_after_;
  Counter reads_, failures_;
};

}  // namespace soma::runtime::http
