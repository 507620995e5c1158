// How many requests a tenant and each of its users may send in a while.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "runtime/host/host.h"
#include "soma/v1/tenant.pb.h"

namespace soma::runtime::api {

// Requests of the last `seconds`, counted in kSlots slots: never more than the limit in any such
// while, and at most one slot's width (1/59) stricter than exact. Not thread-safe.
class RateWindow {
 public:
  static constexpr int kSlots = 60;
  // 0: taken and counted. Else how long to wait, in milliseconds.
  std::int64_t take(const v1::RateLimit& limit, std::int64_t now_ms);
  bool idle(std::int64_t now_ms) const;  // nothing of it counts any more

 private:
  void advance(std::int64_t slot_ms, std::int64_t now_ms);
  std::array<std::int64_t, kSlots> counts_{};
  std::int64_t slot_ms_ = 0, last_slot_ = 0, total_ = 0;
};

// Thread-safe; owned by the node. Limits are the tenant's settings, read once and then followed
// from frames; counts are this node's, in memory. At most kMaxTenants and, of each, kMaxUsers are
// counted; beyond that the idle are forgotten, and if none is, a new one is refused.
class RateLimiter {
 public:
  static constexpr std::size_t kMaxTenants = 10'000, kMaxUsers = 10'000;
  // `done` gets kRateLimited, with retry_after_ms, when the caller must wait; at once where the
  // limits are known, else on a host thread.
  void check(Host& host, const std::string& tenant, const std::string& user, std::int64_t now_ms,
             std::function<void(Status)> done);
  void follow(const events::ValidFrame& frame);  // every valid one

 private:
  struct Tenant {
    bool read = false;          // until then only what frames told is here
    std::uint64_t version = 0;  // of the settings that the limits are of
    v1::RateLimits limits;
    RateWindow window;
    std::map<std::string, RateWindow> users;
  };
  std::optional<Status> known(const std::string& tenant, const std::string& user,
                              std::int64_t now_ms);
  void learn(const std::string& tenant, const v1::TenantSettings& settings, bool read);

  std::mutex mutex_;
  std::map<std::string, Tenant> tenants_;
};

}  // namespace soma::runtime::api
