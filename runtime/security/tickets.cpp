// Issue, redeem, and dropping the oldest.
#include "runtime/security/tickets.h"

#include <utility>

#include "runtime/telemetry/trace.h"
#include "schemas/base/sha256.h"

namespace soma::runtime::security {

Tickets::Tickets(std::function<std::int64_t()> now_ms)
    : now_ms_(std::move(now_ms)), secret_(random_hex(32)) {}

std::string Tickets::ticket_of(const Identity& identity, const std::string& request) const {
  return sha256_hex(secret_ + "\n" + identity.principal.tenant() + "\n" + identity.token_id + "\n" +
                    identity.principal.subject() + "\n" + request);
}

std::string Tickets::issue(const Identity& identity, const std::string& request) {
  const std::string ticket = request.empty() ? random_hex(32) : ticket_of(identity, request);
  std::string hash = sha256_hex(ticket);
  const std::int64_t now = now_ms_();
  const std::lock_guard lock(mutex_);
  while (!by_age_.empty()) {
    const auto oldest = entries_.find(by_age_.begin()->second);
    const bool over = oldest == entries_.end() || oldest->second.until_ms <= now;
    if (!over && by_age_.size() < kMaxTickets) break;
    if (oldest != entries_.end()) entries_.erase(oldest);
    by_age_.erase(by_age_.begin());
  }
  by_age_.emplace(next_++, hash);
  entries_.emplace(std::move(hash), Entry{identity, now + kLifeMs, false});
  return ticket;
}

std::optional<std::string> Tickets::again(const Identity& identity, const std::string& request) {
  const std::string ticket = ticket_of(identity, request);
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(sha256_hex(ticket));
  if (it == entries_.end() || it->second.until_ms <= now_ms_()) return {};
  return ticket;
}

std::optional<Identity> Tickets::redeem(std::string_view ticket) {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(sha256_hex(ticket));
  if (it == entries_.end()) return {};
  Entry& entry = it->second;
  if (std::exchange(entry.used, true)) return {};
  const std::int64_t now = now_ms_();
  const bool token_over =
      entry.identity.expires_s > 0 && (entry.identity.expires_s + kLeewaySeconds) * 1000 <= now;
  if (entry.until_ms <= now || token_over) return {};
  return entry.identity;
}

}  // namespace soma::runtime::security
