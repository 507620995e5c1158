// Postgres views of the journal: fed by valid frames, read by list routes, rebuilt at any time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "events/log.h"
#include "schemas/base/errors.h"
#include "schemas/base/ids.h"

namespace soma::projections {

// What an operator wants to know, for the node's log: a stable name and a sentence.
struct Notice {
  bool problem = false;
  std::string event;  // "projections_connected"
  std::string detail;
};

struct Options {
  std::string postgres_url;  // empty: a private cluster under data_dir
  std::string data_dir;
  std::function<void(const Notice&)> notice;  // any thread; must not block
};

struct SessionRow {
  std::string session_id, user, status, model;
  std::int64_t created_ms = 0, updated_ms = 0;
  std::int64_t turns = 0;
  std::string error_code, error_message;  // of a failed session
  std::int64_t prompt_tokens = 0, completion_tokens = 0;
};
struct SessionPage {
  std::vector<SessionRow> items;
  std::string next_cursor;  // empty: no more
};

// Where rows and log stand, and what was done since start.
struct Report {
  struct Partition {
    PartitionId partition;
    Offset next, end;  // the view has read up to, the log ends at
  };
  std::vector<Partition> partitions;
  std::string problem;   // empty: connected and following
  bool passive = false;  // another node's projector feeds the same database
  std::uint64_t rows = 0, events = 0, batches = 0, failures = 0;  // since start
  std::uint64_t rejected = 0;  // events that the tables could not show, since start
  double busy_seconds = 0;     // spent on batches
  struct Rebuild {
    bool running = false;
    std::string reason;  // of the last one
    std::uint64_t frames_read = 0, frames_total = 0, rows = 0;
    double seconds = 0;
    std::uint64_t done = 0, failed = 0;  // rebuilds since start
    std::string error;                   // of the last one, when it failed
  } rebuild;
};

// One place where rows are not the fold of the log.
struct Difference {
  std::string kind;  // "missing", "extra", "changed"
  std::string table;
  std::string tenant, actor_type, actor_id;
  std::uint64_t sequence = 0;           // of the event; 0: the session's own row
  std::string event_id, position;       // of the event in the log; empty: it has no such event
  std::string column, expected, found;  // the first that differs
};
struct Verification {
  bool ok = false;
  std::uint64_t events = 0, rows = 0, actors = 0;
  std::uint64_t rejected = 0;           // rows of `rejected`: faithful to the log, yet not shown
  std::vector<std::string> cursors;     // positions up to which it was proven
  std::vector<Difference> differences;  // at most kMaxDifferences
  std::uint64_t wrong_actors = 0;       // with rows that are not the fold, of all tenants
  std::uint64_t wrong_of_others = 0;    // of these, actors whose differences were not asked for
  double seconds = 0;
};
inline constexpr std::size_t kMaxDifferences = 100;

// What start_over() began; what was begun before it does not count.
enum class Over : std::uint64_t {};

// Owns the projector's threads. Thread-safe. Commands never wait for it: while Postgres is away
// reads fail with kUnavailable and the projector catches up later, also with a private cluster that
// had to be started anew.
class Projections {
 public:
  // Returns at once; Postgres is started or reached in the background. `log` outlives it.
  static Result<std::unique_ptr<Projections>> start(const events::Log& log, Options options);
  virtual ~Projections() = default;

  // Ends waits and verifications, and makes later ones fail; the projector stops.
  virtual void shut_down() = 0;

  // Until reads work; false when it takes longer, or as soon as it is known that another's server,
  // never yet reached, is not there.
  virtual bool wait_ready(std::int64_t timeout_ms) = 0;
  // Newest first. `status` and `cursor` may be empty. kInvalidArgument for a cursor not given by
  // this list.
  virtual Result<SessionPage> list_sessions(const std::string& tenant, const std::string& status,
                                            std::size_t limit, const std::string& cursor) = 0;
  // Until rows reflect everything up to `position`; false when it takes longer.
  virtual bool wait_for(Position position, std::int64_t timeout_ms) = 0;
  virtual std::uint64_t lag() const = 0;  // records in the log not yet in Postgres
  virtual Status health() const = 0;
  virtual Report report() const = 0;

  // Blue/green: fills new tables beside those that are shown, then switches; reads go on. Returns
  // at once; report() tells. kConflict when one runs already.
  virtual Status start_rebuild(const std::string& reason) = 0;
  // The end of a rebuild that begins after the call; one that runs already ends first. The node's
  // threads should not call it.
  virtual Status rebuild() = 0;

  // All that the database ever held of us goes, and rows are made again from the log. A private
  // cluster is removed with its files, its log and its WAL; of a given database the tables are
  // dropped, while WAL, replicas and backups are its operator's. Returns at once.
  virtual Over start_over() = 0;
  // Until the views are back, read from the log after it was begun; true: nothing of before is
  // left. kDeadlineExceeded: it goes on, and may be waited for again. kUnavailable: it failed, and
  // who waits again has it tried again. kConflict: another node feeds these views. kCancelled.
  virtual Result<bool> wait_over(Over over, std::int64_t timeout_ms) = 0;

  // SHA-256 over all rows, whatever their order.
  virtual Result<std::string> digest() = 0;
  // Of one actor: what was taken from it, as kept beside its rows. kNotFound: nothing was.
  virtual Result<std::string> actor_digest(const std::string& tenant, const std::string& type,
                                           const std::string& id) = 0;
  // Folds the log once more and compares it with every row, at one moment of the database. Reads
  // all of both; blocking. `tenant`: only its differences are told, of others is counted; without
  // one, all are told. kConflict when one runs already.
  virtual Result<Verification> verify(const std::optional<std::string>& tenant) = 0;
};

}  // namespace soma::projections
