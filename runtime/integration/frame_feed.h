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
  static constexpr std::size_t kFrames = 64;  // of each partition; beyond, the oldest go

  void put(const events::ValidFrame& frame) {
    std::lock_guard lock(mutex_);
    auto& frames = lines_[frame.position.partition];
    frames.push_back(frame);
    if (frames.size() > kFrames) frames.pop_front();
  }

  // Those that follow `mark` without a gap, and `mark` behind them. None where the next one is not
  // held, or the fence does not admit it at once: then the log must be read.
  std::vector<events::ValidFrame> take(PartitionId partition, events::Bookmark& mark) {
    std::vector<events::ValidFrame> out;
    std::lock_guard lock(mutex_);
    auto& frames = lines_[partition];
    while (!frames.empty() && frames.front().position.offset < mark.next) frames.pop_front();
    while (!frames.empty() && frames.front().position.offset == mark.next) {
      const auto& f = frames.front();
      events::Fence fence = mark.fence;
      if (f.frame->number() == 0 || mark.last_hash.empty() ||
          fence.admit(*f.frame, f.hash) != events::Verdict::kValid)
        break;
      mark = {f.position.offset.next(), std::move(fence), f.position.offset, f.hash};
      out.push_back(f);
      frames.pop_front();
    }
    return out;
  }

 private:
  std::mutex mutex_;
  std::map<PartitionId, std::deque<events::ValidFrame>> lines_;
};

}  // namespace soma::runtime::integration
