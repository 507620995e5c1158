// A journal moved to another engine: every record as it is, in its order, at its offset.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "events/log.h"

namespace soma::events {

// One partition of both journals after a copy. `records` counts void ones too.
struct CopiedPartition {
  PartitionId partition;
  std::uint64_t records = 0;  // that the target holds now
  std::uint64_t copied = 0;   // of these, by this run
  std::uint64_t frames = 0;   // valid ones
  Epoch epoch;
  std::string head;  // SHA-256 of the last valid record, raw; equal in both
};

// Records done and records in all.
using OnCopied = std::function<void(std::uint64_t done, std::uint64_t total)>;

// Appends to `to` what it lacks of `from`, then reads both through the fence and compares their
// heads. What `to` holds already must be the beginning of `from`, byte for byte, so a copy that was
// interrupted is continued by another. Nobody else may write to either meanwhile. Blocks.
// kConflict: other partitions, other content, offsets that would change (positions are part of what
// clients and states hold), or a journal that grew meanwhile; else the engines' own errors.
Result<std::vector<CopiedPartition>> copy_journal(const Log& from, Log& to,
                                                  const OnCopied& on_copied = {});

}  // namespace soma::events
