// A place in a partition to go on from, with proof that the log still holds what stood before it.
#pragma once

#include <string>

#include "events/fence.h"
#include "events/log.h"

namespace soma::events {

// What every derived store (snapshots, views, indexes) keeps beside its data. Without the proof, a
// log that was restored from a backup or replaced would be read on from a place that it never had.
struct Bookmark {
  Offset next{};          // first offset not yet read
  Fence fence;            // as it stands there
  Offset last{};          // of the last record that was admitted
  std::string last_hash;  // of that record's stored bytes; empty: none was admitted yet
};

// Does the log hold the record that the bookmark speaks of? False when it ends before `next` or
// holds something else there. Reads one record.
Result<bool> holds(const Log& log, PartitionId partition, const Bookmark& bookmark);

}  // namespace soma::events
