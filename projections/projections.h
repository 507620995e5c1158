// Postgres views of the journal: fed by valid frames, read by list routes, rebuilt at any time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "events/log.h"
#include "schemas/base/errors.h"
#include "schemas/base/ids.h"

namespace soma::projections {

struct Options {
  std::string postgres_url;  // empty: a private cluster under data_dir
  std::string data_dir;
};

struct SessionRow {
  std::string session_id, user, status, model;
  std::int64_t created_ms = 0, updated_ms = 0;
  std::int64_t turns = 0;
};
struct SessionPage {
  std::vector<SessionRow> items;
  std::string next_cursor;  // empty: no more
};

// Owns one projector thread. Thread-safe. Commands never wait for it: while Postgres is away reads
// fail with kUnavailable and the projector catches up later.
class Projections {
 public:
  // Starts the private cluster when asked to; Postgres that is away at start is no error.
  static Result<std::unique_ptr<Projections>> start(const events::Log& log, Options options);
  virtual ~Projections() = default;

  // Newest first. `status` and `cursor` may be empty. kInvalidArgument for a cursor not given by
  // this list.
  virtual Result<SessionPage> list_sessions(const std::string& tenant, const std::string& status,
                                            std::size_t limit, const std::string& cursor) = 0;
  // Until rows reflect everything up to `position`; false when it takes longer.
  virtual bool wait_for(Position position, std::int64_t timeout_ms) = 0;
  virtual std::uint64_t lag() const = 0;  // records in the log not yet in Postgres
  virtual Status health() const = 0;
  virtual Status rebuild() = 0;              // drops all rows and reads the journal again
  virtual Result<std::string> digest() = 0;  // SHA-256 over all rows in order of their keys
};

}  // namespace soma::projections
