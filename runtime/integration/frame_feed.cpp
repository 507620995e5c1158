// What is let go is freed outside the lock: host threads wait for it.
#include "runtime/integration/frame_feed.h"

#include <utility>

namespace soma::runtime::integration {

FrameFeed::Held FrameFeed::pop(Line& line) {
  Held out = std::move(line.held.front());
  line.held.pop_front();
  line.bytes -= out.bytes;
  bytes_ -= out.bytes;
  return out;
}

void FrameFeed::keep(const std::vector<PartitionId>& partitions) {
  std::map<PartitionId, Line> others;
  std::lock_guard lock(mutex_);
  std::swap(lines_, others);
  bytes_ = 0;
  for (const auto partition : partitions) {
    auto& line = lines_[partition];
    if (const auto it = others.find(partition); it != others.end()) line = std::move(it->second);
    bytes_ += line.bytes;
  }
}

void FrameFeed::put(const events::ValidFrame& frame) {
  const std::size_t bytes = frame.frame->ByteSizeLong();
  std::vector<Held> gone;
  std::lock_guard lock(mutex_);
  const auto it = lines_.find(frame.position.partition);
  if (it == lines_.end()) return;
  Line& line = it->second;
  line.held.push_back({frame, bytes});
  line.bytes += bytes;
  bytes_ += bytes;
  while (line.bytes > kPartitionBytes || bytes_ > kAllBytes) gone.push_back(pop(line));
}

FrameFeed::Taken FrameFeed::take(PartitionId partition, events::Bookmark& mark,
                                 std::size_t max_bytes) {
  Taken out;
  std::vector<Held> gone;
  std::lock_guard lock(mutex_);
  const auto it = lines_.find(partition);
  if (it == lines_.end()) return {{}, true};
  Line& line = it->second;
  while (!line.held.empty() && line.held.front().frame.position.offset < mark.next)
    gone.push_back(pop(line));
  for (std::size_t bytes = 0; !line.held.empty() && bytes < max_bytes;) {
    const auto& f = line.held.front().frame;
    events::Fence fence = mark.fence;
    // Neither a claim nor the first frame after a start follows what the mark knows.
    out.must_read = f.position.offset != mark.next || f.frame->number() == 0 ||
                    mark.last_hash.empty() ||
                    fence.admit(*f.frame, f.hash) != events::Verdict::kValid;
    if (out.must_read) break;
    mark = {f.position.offset.next(), std::move(fence), f.position.offset, f.hash};
    Held next = pop(line);
    bytes += next.bytes;
    out.frames.push_back(std::move(next.frame));
  }
  return out;
}

std::size_t FrameFeed::bytes() const {
  std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace soma::runtime::integration
