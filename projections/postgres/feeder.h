// Moves the rows of one schema forward along the log.
#pragma once

#include <atomic>
#include <functional>

#include "events/frames.h"
#include "projections/postgres/batch.h"
#include "projections/postgres/schema.h"

namespace soma::projections {

// Counted by whoever feeds, read by anybody.
struct Counts {
  std::atomic<std::uint64_t> rows{0}, events{0}, batches{0}, rejected{0}, frames{0}, busy_us{0};
};

// Uses one connection, whose schema in use it fills. Not thread-safe.
class Feeder {
 public:
  static std::int64_t steady_us();

  // `now_us`: a clock that never goes back.
  Feeder(const events::Log& log, Db& db, Counts& counts,
         std::function<std::int64_t()> now_us = steady_us)
      : log_(log), db_(db), counts_(counts), now_us_(std::move(now_us)) {}

  // Where to go on: as the database says, whatever became of the last commit.
  Status load();
  const Cursors& cursors() const { return cursors_; }
  // kCorrupt: the rows stem from another log, or from more of it than there is now.
  Status check_against_log() const;

  // At most about `max_bytes` of each partition, rows and cursors in one transaction. False: there
  // was nothing to read. Cursors that moved past no row are written once a second only.
  Result<bool> round(std::size_t max_bytes);
  // Everything up to `ends` within the transaction that is open. `stop` ends it with kCancelled.
  Status fill(const std::map<std::uint32_t, Offset>& ends, const std::function<bool()>& stop);

 private:
  using Frames = std::vector<events::ValidFrame>;
  // In an open transaction. What the database refuses goes to `rejected`, event by event.
  Status write(const Frames& frames);
  Status write_with_care(const Frames& frames);
  Status store(const Cursors& moved);

  const events::Log& log_;
  Db& db_;
  Counts& counts_;
  const std::function<std::int64_t()> now_us_;
  Cursors cursors_;  // of what was read
  Cursors unsaved_;  // of those, what the database does not know yet
  std::int64_t saved_at_ms_ = 0;
  Batch batch_;
};

}  // namespace soma::projections
