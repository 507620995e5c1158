// Records lately read from the brokers, so that reading them again costs nothing.
#pragma once

#include <deque>
#include <map>
#include <mutex>
#include <vector>

#include "events/log.h"

namespace soma::events::kafka {

// Holds only what came from the log itself, never what was sent to it. Thread-safe; bounded.
class RecordCache {
 public:
  RecordCache(std::uint32_t partitions, std::size_t bytes)
      : lines_(partitions), limit_(bytes / std::max(partitions, 1u)) {}

  void put(PartitionId partition, Offset offset, std::string_view bytes) {
    Line& line = lines_[partition.value];
    std::lock_guard lock(line.mutex);
    if (bytes.size() > limit_) return;
    if (!line.records.emplace(offset, bytes).second) return;
    line.age.push_back(offset);
    line.bytes += bytes.size();
    for (; line.bytes > limit_; line.age.pop_front()) {
      const auto oldest = line.records.find(line.age.front());
      line.bytes -= oldest->second.size();
      line.records.erase(oldest);
    }
  }

  // Consecutive records from `from` on; none when `from` itself is not held.
  std::vector<Record> get(PartitionId partition, Offset from, std::size_t max_bytes) const {
    const Line& line = lines_[partition.value];
    std::vector<Record> out;
    std::size_t bytes = 0;
    std::lock_guard lock(line.mutex);
    for (auto it = line.records.find(from); it != line.records.end(); ++it) {
      if (it->first != from) break;  // a gap, or not read
      if (!out.empty() && bytes + it->second.size() > max_bytes) break;
      bytes += it->second.size();
      out.push_back({it->first, it->second});
      from = from.next();
    }
    return out;
  }

 private:
  struct Line {
    mutable std::mutex mutex;
    std::map<Offset, std::string> records;
    std::deque<Offset> age;  // as they came
    std::size_t bytes = 0;
  };
  std::vector<Line> lines_;
  const std::size_t limit_;  // per partition
};

}  // namespace soma::events::kafka
