// Valid frames by position: single ones, pages, the newest.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "events/frames.h"

namespace soma::runtime {

// Remembers the fence at every few MiB of each partition, so that judging a frame does not mean
// reading all before it; the first look at a partition does. Thread-safe; blocking.
class Journal {
 public:
  explicit Journal(const events::Log& log);

  using Wanted = std::function<bool(const events::ValidFrame&)>;
  // kNotFound where no record stands, or one that is void.
  Result<events::ValidFrame> at(Position position);
  // Wanted frames of one partition from `from` on, in order, at most `limit`; looks at no more than
  // kMostLooked records. `next`: where to go on; the end of the log when there is nothing more.
  Result<std::vector<events::ValidFrame>> page(PartitionId partition, Offset from,
                                               std::size_t limit, const Wanted& wanted,
                                               Offset& next);
  // The newest wanted frames of all partitions, the oldest of them first.
  Result<std::vector<events::ValidFrame>> newest(std::size_t limit, const Wanted& wanted);

  struct Summary {
    PartitionId partition;
    std::uint64_t records = 0, frames = 0, voided = 0;
    Epoch epoch;
    FrameNumber number;
    std::string head;  // raw bytes
    std::int64_t oldest_ms = 0, newest_ms = 0;
    std::string owner, owner_address;  // of the last claim: node and where others reach it
    std::int64_t owned_since_ms = 0;
    Offset last;  // of the last valid frame
  };
  Result<std::vector<Summary>> summary();
  std::uint32_t partition_count() const { return log_.partition_count(); }

  static constexpr std::size_t kMostLooked = 100'000;

 private:
  struct Known {
    std::mutex mutex;
    std::map<std::uint64_t, events::Fence> fences;  // by offset of the next record
    std::uint64_t next = 0;                         // up to where this was read
    events::Fence fence;                            // there
    Summary summary;
  };
  Status advance(Known& known, PartitionId partition);  // to the end, under its lock
  std::unique_ptr<events::FrameReader> reader(Known& known, PartitionId partition, Offset at);

  const events::Log& log_;
  std::vector<std::unique_ptr<Known>> known_;
};

}  // namespace soma::runtime
