// The log: one interface over engines (embedded segments, simulation, Kafka). All that the rest
// sees.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "schemas/base/errors.h"
#include "schemas/base/ids.h"

namespace soma::events {

class Sealer;

// What became of one append. A failure is never a "no": the record may be in the log, so the owner
// drops the partition and recovers by reading.
struct AppendReport {
  enum class Kind : std::uint8_t {
    kDurable,  // stored and synced (or acked by all replicas) at `offset`
    kUnknown,  // nobody knows; may appear later
    kRefused,  // certainly not stored (full disk before the write, stopped engine)
  };
  Kind kind = Kind::kUnknown;
  std::optional<Offset> offset;  // absent even on success where the engine could not learn it
  Error error;                   // when not durable
};

struct Record {
  Offset offset;
  std::string bytes;
};

// Thread-safe. Reports of one partition arrive in the order of its appends, on an engine thread; a
// report handler must not block. Offsets of a partition rise; gaps are legal (Kafka control
// records).
class Log {
 public:
  using OnReport = std::function<void(const AppendReport&)>;
  virtual ~Log() = default;

  virtual std::uint32_t partition_count() const = 0;
  // Asynchronous; several may be in flight. Other writers may append between.
  virtual void append(PartitionId partition, std::string record, OnReport on_report) = 0;
  // Records from `from` on, at most `max_bytes` (always at least one record if there is one). Only
  // durable ones. Empty at the end. kCorrupt names file and byte offset.
  virtual Result<std::vector<Record>> read(PartitionId partition, Offset from,
                                           std::size_t max_bytes) const = 0;
  // Offset after the last durable record.
  virtual Offset end(PartitionId partition) const = 0;
  // Calls `on_grow` (engine thread, must not block) whenever end(partition) rose. Until unfollow.
  virtual std::uint64_t follow(std::function<void(PartitionId)> on_grow) = 0;
  virtual void unfollow(std::uint64_t subscription) = 0;
  // Runs work that may block (reading) and came up in a report handler. An engine whose report
  // thread also serves reads runs it elsewhere; the others at once.
  virtual void run_apart(std::function<void()> work) { work(); }
  // For engines without threads of their own: completes what is pending on the caller's thread, and
  // is true. False: reports come from the engine's threads, wait for them.
  virtual bool pump() { return false; }
  // True while appends can be taken; else why not (read-only after EIO, disk full, closed).
  virtual Status health() const = 0;

  // Who seals personal data of what is written to and read from this log; set before it is used.
  // Nobody: all is stored as it is, and what is stored sealed stays so.
  void seal_with(std::shared_ptr<const Sealer> sealer) { sealer_ = std::move(sealer); }
  const Sealer* sealer() const { return sealer_.get(); }

 private:
  std::shared_ptr<const Sealer> sealer_;
};

}  // namespace soma::events
