// Where each partition ends as far as this process has seen, and who wants to hear that it grew.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include "schemas/base/ids.h"

namespace soma::events::kafka {

// Shared by producers and tail; thread-safe.
class Ends {
 public:
  explicit Ends(std::uint32_t partitions)
      : count_(partitions), ends_(std::make_unique<std::atomic<std::uint64_t>[]>(partitions)) {}

  std::uint32_t count() const { return count_; }
  Offset get(PartitionId p) const { return Offset{ends_[p.value].load()}; }
  // True when it rose: then tell().
  bool raise(PartitionId p, Offset end) {
    auto& known = ends_[p.value];
    for (std::uint64_t seen = known.load(); seen < end.value;)
      if (known.compare_exchange_weak(seen, end.value)) return true;
    return false;
  }
  void tell(PartitionId p) {
    std::lock_guard lock(mutex_);
    for (const auto& [id, on_grow] : followers_) on_grow(p);
  }
  std::uint64_t follow(std::function<void(PartitionId)> on_grow) {
    std::lock_guard lock(mutex_);
    followers_.emplace(++next_, std::move(on_grow));
    return next_;
  }
  void unfollow(std::uint64_t id) {
    std::lock_guard lock(mutex_);
    followers_.erase(id);
  }

 private:
  const std::uint32_t count_;
  std::unique_ptr<std::atomic<std::uint64_t>[]> ends_;
  std::mutex mutex_;
  std::map<std::uint64_t, std::function<void(PartitionId)>> followers_;
  std::uint64_t next_ = 0;
};

}  // namespace soma::events::kafka
