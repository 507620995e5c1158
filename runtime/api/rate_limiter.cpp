// A sliding window by slots; the user's first: what it refuses is not counted for the tenant.
#include "runtime/api/rate_limiter.h"

#include <algorithm>

#include "actors/tenant/tenant.h"

namespace soma::runtime::api {

namespace {

Status wait(std::int64_t ms, const std::string& whose, const v1::RateLimit& limit) {
  Error e{Code::kRateLimited,
          "the " + whose + " may send " + std::to_string(limit.requests()) + " requests in " +
              std::to_string(limit.seconds()) + " s",
          {}};
  e.retry_after_ms = ms;
  return tl::unexpected(std::move(e));
}

}  // namespace

void RateWindow::advance(std::int64_t slot_ms, std::int64_t now_ms) {
  const std::int64_t slot = now_ms / slot_ms;
  if (slot_ms != slot_ms_ || slot - last_slot_ >= kSlots) {
    if (slot_ms != slot_ms_ || total_ > 0) counts_.fill(0);
    total_ = 0;
    slot_ms_ = slot_ms;
    last_slot_ = slot;
    return;
  }
  for (; last_slot_ < slot; ++last_slot_) {
    auto& leaving = counts_[static_cast<std::size_t>((last_slot_ + 1) % kSlots)];
    total_ -= leaving;
    leaving = 0;
  }
}

std::int64_t RateWindow::take(const v1::RateLimit& limit, std::int64_t now_ms) {
  if (limit.requests() <= 0) return 0;
  // All slots but the one that has just begun are as long as the limit's while, or a little longer.
  advance((limit.seconds() * 1000 + kSlots - 2) / (kSlots - 1), now_ms);
  if (total_ < limit.requests()) {
    ++counts_[static_cast<std::size_t>(last_slot_ % kSlots)];
    ++total_;
    return 0;
  }
  // The oldest slot that holds anything leaves first.
  for (std::int64_t slot = last_slot_ - kSlots + 1; slot <= last_slot_; ++slot)
    if (slot >= 0 && counts_[static_cast<std::size_t>(slot % kSlots)] > 0)
      return std::max<std::int64_t>(1, (slot + kSlots) * slot_ms_ - now_ms);
  return slot_ms_;
}

bool RateWindow::idle(std::int64_t now_ms) const {
  return total_ == 0 || now_ms / std::max<std::int64_t>(1, slot_ms_) - last_slot_ >= kSlots;
}

std::optional<Status> RateLimiter::known(const std::string& tenant, const std::string& user,
                                         std::int64_t now_ms) {
  std::lock_guard lock(mutex_);
  const auto it = tenants_.find(tenant);
  if (it == tenants_.end() || !it->second.read) return std::nullopt;
  Tenant& t = it->second;
  if (t.limits.user().requests() > 0) {
    if (t.users.size() >= kMaxUsers && !t.users.contains(user)) {
      std::erase_if(t.users, [&](const auto& u) { return u.second.idle(now_ms); });
      if (t.users.size() >= kMaxUsers) return wait(1000, "tenant", t.limits.user());
    }
    if (const auto ms = t.users[user].take(t.limits.user(), now_ms); ms > 0)
      return wait(ms, "user", t.limits.user());
  }
  const auto ms = t.window.take(t.limits.tenant(), now_ms);
  return ms > 0 ? wait(ms, "tenant", t.limits.tenant()) : Status{};
}

void RateLimiter::learn(const std::string& tenant, const v1::TenantSettings& settings, bool read) {
  std::lock_guard lock(mutex_);
  const auto it = tenants_.find(tenant);
  if (it == tenants_.end()) return;
  it->second.read = it->second.read || read;
  if (settings.version() < it->second.version) return;  // a frame told of a newer one
  it->second.version = settings.version();
  it->second.limits = settings.rate_limits();
}

void RateLimiter::check(Host& host, const std::string& tenant, const std::string& user,
                        std::int64_t now_ms, std::function<void(Status)> done) {
  if (auto now = known(tenant, user, now_ms)) return done(std::move(*now));
  {
    // There before it is read, so that no frame in between is missed.
    std::lock_guard lock(mutex_);
    if (tenants_.size() >= kMaxTenants && !tenants_.contains(tenant)) {
      std::erase_if(tenants_, [&](const auto& t) {
        const auto& users = t.second.users;
        return t.second.window.idle(now_ms) &&
               std::all_of(users.begin(), users.end(),
                           [&](const auto& u) { return u.second.idle(now_ms); });
      });
      if (tenants_.size() >= kMaxTenants)
        return done(fail(Code::kOverloaded, "10000 tenants are being counted; try again shortly"));
    }
    tenants_.try_emplace(tenant);
  }
  host.read(actors::tenant_key(tenant), [this, tenant, user, now_ms,
                                         done = std::move(done)](Result<StateView> view) {
    if (!view) return done(tl::unexpected(view.error()));
    learn(tenant, actors::effective_settings(static_cast<const v1::TenantState&>(*view->state)),
          true);
    auto now = known(tenant, user, now_ms);
    done(now ? std::move(*now)
             : fail(Code::kUnavailable, "the rate limits could not be read; try again"));
  });
}

void RateLimiter::follow(const events::ValidFrame& valid) {
  for (const auto& entry : valid.frame->entries()) {
    if (entry.actor().type() != actors::TenantDecider::kName) continue;
    for (const auto& recorded : entry.events()) {
      if (recorded.type() != "settings.changed") continue;
      v1::TenantEvent event;
      if (event.ParseFromString(recorded.payload()) && event.has_settings_changed())
        learn(entry.actor().tenant(), event.settings_changed().settings(), false);
    }
  }
}

}  // namespace soma::runtime::api
