// Whether new sessions are refused now, for every tenant.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>

#include "runtime/host/host.h"

namespace soma::runtime::api {

// Thread-safe. On when the setting says so at start, or when it was switched on and not off again.
class KillSwitch {
 public:
  explicit KillSwitch(bool at_start) : at_start_(at_start) {}
  void follow(const events::ValidFrame& frame);             // for HostParts::observers
  void load(Host& host, std::function<void(Status)> done);  // what was recorded before this start
  bool active() const { return at_start_ || recorded_.load(); }
  bool set_at_start() const { return at_start_; }

 private:
  void take(bool enabled, bool newer);

  const bool at_start_;
  std::atomic<bool> recorded_{true};  // until load() knows better
  std::mutex mutex_;
  bool followed_ = false;  // a frame has told more than the actor's state when it was read
};

}  // namespace soma::runtime::api
