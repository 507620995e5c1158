// Compares one stored record with what was read before.
#include "events/bookmark.h"

#include "schemas/base/sha256.h"

namespace soma::events {

Result<bool> holds(const Log& log, PartitionId partition, const Bookmark& bookmark) {
  if (bookmark.last_hash.empty()) return bookmark.next.value == 0;
  if (log.end(partition) < bookmark.next) return false;
  auto records = log.read(partition, bookmark.last, 1);
  if (!records) return tl::unexpected(records.error());
  return !records->empty() && records->front().offset == bookmark.last &&
         sha256(records->front().bytes) == bookmark.last_hash;
}

}  // namespace soma::events
