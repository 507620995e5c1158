// Frames that this node's host found valid, kept for the publisher: it need not read them again.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "events/frames.h"

namespace soma::runtime::integration {

// Has `frames` called with every valid frame of this node's host, until the token goes.
using WatchFrames =
    std::function<std::shared_ptr<void>(std::function<void(const events::ValidFrame&)> frames)>;

// Thread-safe. Holds a cache of the log and no more: what it has not, the log has.
class FrameFeed {
 public:
  // Bytes as encoded. Beyond these the oldest frames of the partition that grows are let go.
  static constexpr std::size_t kPartitionBytes = 4 << 20, kAllBytes = 16 << 20;

  // Frames of these partitions are kept from now on, and of no others. None at first.
  void keep(const std::vector<PartitionId>& partitions);
  void put(const events::ValidFrame& frame);  // in order per partition

  struct Taken {
    std::vector<events::ValidFrame> frames;
    bool must_read = false;  // the next frame will not come by the feed: the log has it
  };
  // Those that follow `mark` without a gap and that the fence admits, until they are `max_bytes` or
  // more; `mark` behind them.
  Taken take(PartitionId partition, events::Bookmark& mark, std::size_t max_bytes);

  std::size_t bytes() const;

 private:
  struct Held {
    events::ValidFrame frame;
    std::size_t bytes = 0;
  };
  struct Line {
    std::deque<Held> held;
    std::size_t bytes = 0;
  };
  Held pop(Line& line);

  mutable std::mutex mutex_;
  std::map<PartitionId, Line> lines_;  // of the partitions that are kept
  std::size_t bytes_ = 0;
};

}  // namespace soma::runtime::integration
