// The log of one machine: segment files, one sync a commit round for all partitions.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "events/embedded/file_ops.h"
#include "events/embedded/folder_lock.h"
#include "events/embedded/scan.h"
#include "events/log.h"

namespace soma::events {

struct EmbeddedOptions {
  std::string folder;                      // made if absent
  std::uint32_t partition_count = 8;       // of a new log; an existing one keeps its own
  std::uint64_t segment_bytes = 64 << 20;  // 64 KiB to 1 GiB; a record must fit one segment
  std::size_t queue_bytes = 256 << 20;     // appends beyond are refused: kOverloaded
  // Of the newest segments so much is read before the log opens; older ones are taken by their
  // index and read behind.
  std::uint64_t read_at_open_bytes = 128 << 20;
  FileOps ops = FileOps::real();
};

// kLocked names the holder's pid; kCorrupt names file and byte; kIo, kStorageFull. What is not read
// here is read in the background: damage found there ends all appends, and health() tells of it
// (kCorrupt).
Result<std::unique_ptr<Log>> open_embedded_log(EmbeddedOptions options);

// For tools beside a running node or on a stopped folder: takes no lock, cuts nothing, appends
// refused.
Result<std::unique_ptr<Log>> open_embedded_log_readonly(const std::string& folder);

// Every byte of every segment. The first damage, or none.
Result<ScanResult> verify_segments(const std::string& folder);

}  // namespace soma::events
