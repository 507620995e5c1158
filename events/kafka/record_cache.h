// Records lately read from the brokers, so that reading them again costs nothing.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <vector>

#include "events/log.h"

namespace soma::events::kafka {

// Holds only what came from the log itself, never what was sent to it. Thread-safe; bounded: what
// came first goes first, of whatever partition.
class RecordCache {
 public:
  RecordCache(std::uint32_t partitions, std::size_t bytes)
      : lines_(partitions), followed_(partitions, Offset{~0ULL}), limit_(bytes) {}

  // Who follows the partition has come as far as `next`.
  void followed(PartitionId partition, Offset next) {
    {
      std::lock_guard lock(mutex_);
      followed_[partition.value] = next;
    }
    came_.notify_all();
  }
  // Until the follower is past `offset`; at once where it is, or where nobody follows.
  void await(PartitionId partition, Offset offset, std::chrono::milliseconds longest) const {
    std::unique_lock lock(mutex_);
    came_.wait_for(lock, longest, [&] { return followed_[partition.value] > offset; });
  }

  void put(PartitionId partition, Offset offset, std::string_view bytes) {
    std::lock_guard lock(mutex_);
    if (bytes.size() > limit_) return;
    if (!lines_[partition.value].emplace(offset, bytes).second) return;
    age_.push_back({partition, offset});
    bytes_ += bytes.size();
    for (; bytes_ > limit_; age_.pop_front()) {
      auto& line = lines_[age_.front().partition.value];
      const auto oldest = line.find(age_.front().offset);
      bytes_ -= oldest->second.size();
      line.erase(oldest);
    }
  }

  // Consecutive records from `from` on; none when `from` itself is not held.
  std::vector<Record> get(PartitionId partition, Offset from, std::size_t max_bytes) const {
    std::vector<Record> out;
    std::size_t bytes = 0;
    std::lock_guard lock(mutex_);
    const auto& line = lines_[partition.value];
    for (auto it = line.find(from); it != line.end(); ++it) {
      if (it->first != from) break;  // a gap, or not read
      if (!out.empty() && bytes + it->second.size() > max_bytes) break;
      bytes += it->second.size();
      out.push_back({it->first, it->second});
      from = from.next();
    }
    return out;
  }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable came_;
  std::vector<std::map<Offset, std::string>> lines_;
  std::vector<Offset> followed_;
  std::deque<Position> age_;
  std::size_t bytes_ = 0;
  const std::size_t limit_;
};

}  // namespace soma::events::kafka
