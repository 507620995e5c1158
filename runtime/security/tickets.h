// One-use tickets by which browsers open sockets and event streams, where they can send no header.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/security/authenticator.h"

namespace soma::runtime::security {

// Thread-safe. Held in memory, by hash: they end with the process, and with their use. At most
// kMaxTickets are remembered; beyond that the oldest go.
class Tickets {
 public:
  static constexpr std::int64_t kLifeMs = 30'000;
  static constexpr std::size_t kMaxTickets = 10'000;

  explicit Tickets(std::function<std::int64_t()> now_ms);
  // `request`: by which again() finds it; empty: nobody asks for it again.
  std::string issue(const Identity& identity, const std::string& request = {});
  // What issue() gave the same caller for this request, used or not; nothing once it is over.
  std::optional<std::string> again(const Identity& identity, const std::string& request);
  // The caller it was issued to; nothing for one that is unknown, used or too old.
  std::optional<Identity> redeem(std::string_view ticket);

 private:
  struct Entry {
    Identity identity;
    std::int64_t until_ms = 0;
    bool used = false;
  };
  std::string ticket_of(const Identity& identity, const std::string& request) const;
  const std::function<std::int64_t()> now_ms_;
  const std::string secret_;  // tickets of requests come from it
  std::mutex mutex_;
  std::map<std::string, Entry> entries_;         // by SHA-256
  std::map<std::uint64_t, std::string> by_age_;  // number to hash
  std::uint64_t next_ = 0;
};

}  // namespace soma::runtime::security
