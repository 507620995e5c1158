// Reads segments from the start: every round and record, and the first damage if there is any.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "events/embedded/mark.h"
#include "events/embedded/segment.h"
#include "schemas/base/errors.h"
#include "schemas/base/ids.h"

namespace soma::events {

struct Damage {
  std::string file;
  std::uint64_t byte = 0;  // offset in the file
  std::string reason;
};
std::string to_string(const Damage& damage);

struct ScannedRecord {
  PartitionId partition;
  Offset offset;
  std::uint64_t segment;
  std::uint64_t byte;   // of the record header in the file
  std::uint32_t bytes;  // of the record without header
};

// Of all segments before a place in the log.
struct LogState {
  std::uint32_t partition_count = 0;  // 0: no segments
  std::uint32_t salt = 0;
  std::uint64_t last_round = 0;
  std::vector<std::uint64_t> offsets;  // the next of each partition
};

struct ScanResult : LogState {
  std::uint64_t last_segment = 0;
  std::uint64_t tail = 0;          // byte after the last whole round of the last segment
  std::uint64_t segment_size = 0;  // of the last segment
  bool torn = false;               // bytes of an unacknowledged write stand behind the tail
  std::uint64_t torn_end = 0;      // byte after the last of them
  Mark mark;                       // as read before the scan
  std::optional<Damage> damage;    // the first; the scan ends there
};

// Calls `on_record` for every whole record in file order. `live`: another process may be writing,
// so an incomplete round behind the mark is its work and no damage. Fails (kIo) when a file cannot
// be read. It begins with segment `first`, before which `before` is the log's state.
Result<ScanResult> scan_segments(const std::string& folder, bool live,
                                 const std::function<void(const ScannedRecord&)>& on_record,
                                 std::uint64_t first = 0, LogState before = {});

// Of one segment that others stand behind: nothing is being written there, so what does not check
// is damage. kCancelled soon after `stop`.
Result<ScanResult> scan_full_segment(const std::string& folder, std::uint64_t segment,
                                     LogState before, const std::atomic<bool>& stop,
                                     const std::function<void(const ScannedRecord&)>& on_record);

// The scan of one segment's bytes by themselves, as if it were the whole log: what fuzzing drives.
std::optional<Damage> scan_bytes(std::string_view bytes, const Mark& mark,
                                 const std::function<void(const ScannedRecord&)>& on_record);

}  // namespace soma::events
