// Reads segments from the start: every round and record, and the first damage if there is any.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "events/embedded/segment.h"
#include "schemas/base/errors.h"
#include "schemas/base/ids.h"

namespace soma::events {

struct Damage {
  std::string file;
  std::uint64_t byte = 0;      // offset in the file
  std::string reason;
};
std::string to_string(const Damage& damage);

// How far synced bytes reach, as the engine last noted it. Absent file: round 0.
struct Mark {
  std::uint64_t round = 0;
  std::uint64_t segment = 0;
  std::uint64_t end = 0;       // byte after the last synced round in that segment
};
Result<Mark> read_mark(const std::string& folder);
std::string encode_mark(const Mark& mark);

struct ScannedRecord {
  PartitionId partition;
  Offset offset;
  std::uint64_t segment;
  std::uint64_t byte;          // of the record header in the file
  std::uint32_t bytes;         // of the record without header
};

struct ScanResult {
  std::uint32_t partition_count = 0;   // 0: no segments
  std::uint64_t last_round = 0;
  std::uint64_t last_segment = 0;
  std::uint64_t tail = 0;              // byte after the last whole round of the last segment
  std::uint64_t segment_size = 0;      // of the last segment
  bool torn = false;                   // bytes of an unacknowledged write stand behind the tail
  std::optional<Damage> damage;        // the first; the scan ends there
};

// Calls `on_record` for every whole record in file order. `live`: another process may be writing, so an
// incomplete round at the very end is no damage even when the mark has moved past it meanwhile.
Result<ScanResult> scan_segments(const std::string& folder, bool live,
                                 const std::function<void(const ScannedRecord&)>& on_record);

}  // namespace soma::events
