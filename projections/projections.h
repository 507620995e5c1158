// Postgres views of the journal: fed by valid frames, read by list routes, rebuilt at any time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "events/log.h"
#include "projections/views/queries.h"
#include "schemas/base/errors.h"
#include "schemas/base/ids.h"

namespace soma::projections {

// One committed batch of one partition.
struct BatchStats {
  PartitionId partition;
  std::uint64_t frames = 0, rows = 0;
  double seconds = 0;                    // reading, decoding and committing it
};

// Called on the projector's thread; must not block. Either may be empty.
struct Observer {
  std::function<void(const BatchStats&)> on_batch;
  std::function<void(const std::string&)> on_problem;   // empty text: the problem is over
};

struct Options {
  std::string postgres_url;     // empty: a private cluster under data_dir
  std::string data_dir;
  std::string cursor_key;       // signs list cursors; nodes of a cluster share it. Empty: only damage is noticed
  Observer observer = {};
};

// What `verify` found wrong first.
struct Difference {
  std::string table, key;       // primary key as text
  std::string kind;             // "missing", "extra", "changed"
  std::string position;         // of the frame behind the row, where the row names it
};
struct Verification {
  bool ok = false;
  std::uint64_t rows = 0;
  std::vector<Difference> differences;   // the first few
};

// Owns one projector thread and, if asked, a private Postgres. Thread-safe. Commands never wait for it: while
// Postgres is away reads fail with kUnavailable and the projector catches up later.
class Projections : public Queries {
 public:
  // Starts the private cluster when asked to; a Postgres of yours that is away at start is no error. `log`
  // must outlive the result.
  static Result<std::unique_ptr<Projections>> start(events::Log& log, Options options);

  // Until rows reflect everything up to `position`; false when that takes longer.
  virtual bool wait_for(Position position, std::int64_t timeout_ms) = 0;
  virtual std::uint64_t lag() const = 0;                  // records in the log not yet in Postgres
  virtual Status health() const = 0;                      // kUnavailable and why
  // Reads the journal again into fresh tables, then puts them in the place of the old in one transaction; lists
  // go on meanwhile. Blocks; one at a time (kConflict).
  virtual Status rebuild() = 0;
  // Derives all rows again and compares. Blocks as rebuild does.
  virtual Result<Verification> verify() = 0;
  virtual Result<std::string> digest() = 0;               // hex SHA-256 over all rows in order of their keys
  virtual void stop() = 0;                                // no more rows after it; the destructor calls it
  virtual std::string postgres_url() const = 0;           // what it is connected to; may hold a password
};

}  // namespace soma::projections
