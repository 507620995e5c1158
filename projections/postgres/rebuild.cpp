// One big transaction, then small ones.
#include "projections/postgres/rebuild.h"

namespace soma::projections {

namespace {

constexpr std::chrono::minutes kLongest{30};  // one statement: an index over all rows

}  // namespace

Status prepare_writer(Db& db) {
  // Rows and cursor are lost together or not at all, and are made again: no commit need wait for a
  // disk that the log needs.
  // The server, too, gives up a node whose host is gone: it holds the writers' lock.
  return db.run(
      "SET client_min_messages = warning; SET synchronous_commit = off; "
      "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = "
      "3");
}

Rebuild::Rebuild(const events::Log& log, std::string url, std::function<void()> on_change)
    : log_(log), url_(std::move(url)), on_change_(std::move(on_change)) {
  thread_ = std::thread([this] { run(); });
}

Rebuild::~Rebuild() { finish(); }

void Rebuild::finish() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    if (db_) db_->interrupt();
  }
  if (thread_.joinable()) thread_.join();
}

void Rebuild::run() {
  auto done = fill();
  if (!done) {
    error_ = done.error();
    state_ = State::kFailed;
  } else {
    state_ = State::kReady;
  }
  {
    std::lock_guard lock(mutex_);
    db_.reset();
  }
  on_change_();
}

Status Rebuild::fill() {
  auto db = Db::open(url_);
  if (!db) return tl::unexpected(db.error());
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return fail(Code::kCancelled, "the rebuild was stopped");
    db_ = std::move(*db);
  }
  db_->set_patience(kLongest);
  if (auto ok = prepare_writer(*db_); !ok) return ok;
  if (auto ok = db_->run("SET maintenance_work_mem = '64MB'; SET work_mem = '16MB'"); !ok)
    return ok;
  Feeder feeder(log_, *db_, counts_);
  std::map<std::uint32_t, Offset> ends;
  std::uint64_t total = 0;
  for (std::uint32_t p = 0; p < log_.partition_count(); ++p)
    total += (ends[p] = log_.end(PartitionId{p})).value;
  frames_total_ = total;
  const std::function<bool()> stop = [this] { return stopping_.load(); };
  if (auto ok = db_->run("BEGIN"); !ok) return ok;
  if (auto ok = create_schema(*db_, kFilling); !ok) return ok;
  if (auto ok = use_schema(*db_, kFilling); !ok) return ok;
  if (auto ok = feeder.fill(ends, stop); !ok) return ok;
  if (auto ok = create_indexes(*db_, kFilling); !ok) return ok;
  if (auto ok = db_->run("COMMIT"); !ok) return ok;
  if (auto ok = analyze(*db_, kFilling); !ok) return ok;
  // What came in meanwhile.
  for (bool more = true; more && !stopping_;) {
    auto round = feeder.round(4 << 20);
    if (!round) return tl::unexpected(round.error());
    more = *round;
  }
  return stopping_ ? fail(Code::kCancelled, "the rebuild was stopped") : Status{};
}

}  // namespace soma::projections
