// What others ask of the projector.
#include <charconv>

#include "projections/postgres/projector.h"
#include "projections/postgres/verify.h"

namespace soma::projections {

namespace {

constexpr std::int64_t kListTimeoutMs = 5000;
constexpr std::int64_t kRebuildTimeoutMs = 30 * 60 * 1000;

constexpr char kErased[] = "data was erased";

std::string text(const Field& f) { return f.value_or(std::string()); }
std::int64_t number(const Field& f) { return f ? std::stoll(*f) : 0; }

}  // namespace

template <typename T>
Result<T> Projector::read(std::int64_t timeout_ms, const std::function<Result<T>(Db&)>& work) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return fail(Code::kUnavailable, "the node is stopping");
    if (!shown_)
      return fail(Code::kUnavailable, "the views are not there yet (" + problem_ +
                                          "); commands go on, lists come back with them");
  }
  auto out = readers_.with<T>(timeout_ms, work);
  if (out || out.error().code == Code::kInvalidArgument) return out;
  if (out.error().code == Code::kCorrupt) start_rebuild(out.error().message);
  return fail(Code::kUnavailable,
              "the views' database cannot be reached; commands go on, lists come back with it");
}

// Of a given database it is a rebuild that begins from now on: one that runs may have read before.
Over Projector::start_over() {
  std::lock_guard lock(mutex_);
  if (!own()) {
    want_rebuild(kErased);
    return Over{rebuilds_begun_ + 1};
  }
  over_wanted_ = true;
  if (writing_) writing_->interrupt();
  changed_.notify_all();
  return Over{overs_done_ + 1};
}

Result<bool> Projector::wait_over(Over over, std::int64_t timeout_ms) {
  const auto number = static_cast<std::uint64_t>(over);
  if (!own()) {
    auto done = wait_rebuilt(number, kErased, timeout_ms);
    return done ? Result<bool>(false) : tl::unexpected(done.error());
  }
  std::unique_lock lock(mutex_);
  const bool made = moved_.wait_for(lock, std::chrono::milliseconds(timeout_ms), [&] {
    return stopping_ || (overs_done_ >= number && shown_ && problem_.empty());
  });
  if (stopping_) return fail(Code::kCancelled, "the node is stopping");
  if (made) return true;
  return fail(Code::kDeadlineExceeded, "the views were not made anew in time: " + problem_);
}

bool Projector::wait_ready(std::int64_t timeout_ms) {
  std::unique_lock lock(mutex_);
  const auto ready = [this] { return shown_ && problem_.empty(); };
  const auto absent = [this] { return !found_ && failures_ > 0 && !options_.postgres_url.empty(); };
  moved_.wait_for(lock, std::chrono::milliseconds(timeout_ms),
                  [&] { return ready() || absent() || stopping_; });
  return ready() && !stopping_;
}

Result<SessionPage> Projector::list_sessions(const std::string& tenant, const std::string& status,
                                             std::size_t limit, const std::string& cursor) {
  std::int64_t before_ms = INT64_MAX;
  std::string before_id = "\x7f";
  if (!cursor.empty()) {
    const auto dot = cursor.find('.');
    const char* end = cursor.data() + std::min(dot, cursor.size());
    const auto parsed = std::from_chars(cursor.data(), end, before_ms);
    if (dot == std::string::npos || parsed.ec != std::errc() || parsed.ptr != end ||
        cursor.find('\0') != std::string::npos)
      return fail(Code::kInvalidArgument, "cursor must be a next_cursor that this list gave",
                  "query.cursor");
    before_id = cursor.substr(dot + 1);
  }
  return read<SessionPage>(kListTimeoutMs, [&](Db& db) -> Result<SessionPage> {
    auto rows = db.query(
        "SELECT session_id, user_id, coalesce(status,'accepted'), model, created_ms, updated_ms, "
        "turns, error_code, error_message, prompt_tokens, completion_tokens FROM sessions WHERE "
        "tenant_id=$1 AND ($2='' OR status=$2) AND (created_ms, session_id) < ($3::bigint,$4) "
        "ORDER BY created_ms DESC, session_id DESC LIMIT $5",
        {tenant, status, std::to_string(before_ms), before_id, std::to_string(limit)});
    if (!rows) return tl::unexpected(rows.error());
    SessionPage page;
    for (const auto& r : *rows)
      page.items.push_back({text(r[0]), text(r[1]), text(r[2]), text(r[3]), number(r[4]),
                            number(r[5]), number(r[6]), text(r[7]), text(r[8]), number(r[9]),
                            number(r[10])});
    if (page.items.size() == limit && limit > 0)
      page.next_cursor =
          std::to_string(page.items.back().created_ms) + "." + page.items.back().session_id;
    return page;
  });
}

bool Projector::wait_for(Position position, std::int64_t timeout_ms) {
  std::unique_lock lock(mutex_);
  const auto reached = [&] {
    auto it = reached_.find(position.partition);
    return it != reached_.end() && it->second > position.offset;
  };
  if (reached()) return true;
  ++waiting_;
  work_ = true;
  changed_.notify_all();
  const bool in_time = moved_.wait_for(lock, std::chrono::milliseconds(timeout_ms),
                                       [&] { return reached() || stopping_; });
  --waiting_;
  return in_time && !stopping_;
}

std::uint64_t Projector::lag() const {
  std::lock_guard lock(mutex_);
  std::uint64_t lag = 0;
  for (std::uint32_t p = 0; p < log_.partition_count(); ++p) {
    auto it = reached_.find(PartitionId{p});
    const std::uint64_t end = log_.end(PartitionId{p}).value;
    const std::uint64_t at = it == reached_.end() ? 0 : it->second.value;
    lag += end > at ? end - at : 0;
  }
  return lag;
}

Status Projector::health() const {
  std::lock_guard lock(mutex_);
  return problem_.empty() ? Status{} : fail(Code::kUnavailable, problem_);
}

Report Projector::report() const {
  std::lock_guard lock(mutex_);
  Report r;
  for (std::uint32_t p = 0; p < log_.partition_count(); ++p) {
    auto it = reached_.find(PartitionId{p});
    r.partitions.push_back(
        {PartitionId{p}, it == reached_.end() ? Offset{} : it->second, log_.end(PartitionId{p})});
  }
  r.problem = problem_;
  r.passive = passive_;
  r.rows = counts_.rows;
  r.events = counts_.events;
  r.batches = counts_.batches;
  r.rejected = counts_.rejected;
  r.failures = failures_;
  r.busy_seconds = static_cast<double>(counts_.busy_us) / 1e6;
  r.rebuild = rebuild_shown_;
  r.rebuild.running |= rebuild_wanted_;
  if (rebuild_shown_.running && rebuild_) {
    r.rebuild.frames_read = rebuild_->counts().frames;
    r.rebuild.frames_total = rebuild_->frames_total();
    r.rebuild.rows = rebuild_->counts().rows;
    r.rebuild.seconds = std::chrono::duration<double>(Clock::now() - rebuild_began_).count();
  }
  return r;
}

Status Projector::start_rebuild(const std::string& reason) {
  {
    std::lock_guard lock(mutex_);
    if (rebuild_wanted_ || rebuild_shown_.running)
      return fail(Code::kConflict, "a rebuild runs already");
    if (passive_)
      return fail(Code::kConflict, "another node feeds these views; ask it to rebuild them");
    want_rebuild(reason);
  }
  return {};
}

// One that is wanted and has not begun will do.
void Projector::want_rebuild(const std::string& reason) {
  if (rebuild_wanted_ || rebuild_shown_.running || passive_) return;
  rebuild_wanted_ = true;
  rebuild_shown_.reason = reason;
  changed_.notify_all();
}

// Until that rebuild, or a later one, is shown. Begins it when none runs, once.
Status Projector::wait_rebuilt(std::uint64_t number, const std::string& reason,
                               std::int64_t timeout_ms) {
  const auto until = Clock::now() + std::chrono::milliseconds(timeout_ms);
  std::unique_lock lock(mutex_);
  const auto failed = rebuild_shown_.failed;
  for (bool in_time = true;;) {
    if (stopping_) return fail(Code::kCancelled, "the node is stopping");
    if (rebuilt_ >= number) return {};
    if (passive_)
      return fail(Code::kConflict, "another node feeds these views; ask it to rebuild them");
    const bool idle = !rebuild_wanted_ && !rebuild_shown_.running;
    if (idle && rebuilds_begun_ >= number && rebuild_shown_.failed > failed)
      return fail(Code::kUnavailable, "the rebuild failed: " + rebuild_shown_.error);
    want_rebuild(reason);
    if (!in_time) return fail(Code::kDeadlineExceeded, "the views were not rebuilt in time");
    in_time = moved_.wait_until(lock, until) == std::cv_status::no_timeout;
  }
}

Status Projector::rebuild() {
  std::uint64_t number = 0;
  {
    std::lock_guard lock(mutex_);
    number = rebuilds_begun_ + 1;
  }
  return wait_rebuilt(number, "asked for", kRebuildTimeoutMs);
}

Result<std::string> Projector::digest() {
  return read<std::string>(kLongestScan.count(), [](Db& db) { return digest_rows(db); });
}

Result<std::string> Projector::actor_digest(const std::string& tenant, const std::string& type,
                                            const std::string& id) {
  auto rows = read<std::vector<Record>>(kListTimeoutMs, [&](Db& db) {
    return db.query(
        "SELECT rows, high, low FROM actor_digests WHERE tenant_id=$1 AND actor_type=$2 AND "
        "actor_id=$3",
        {tenant, type, id});
  });
  if (!rows) return tl::unexpected(rows.error());
  if (rows->empty()) return fail(Code::kNotFound, "the views have no rows of this actor");
  const auto& r = rows->front();
  return to_hex(
      Digest{static_cast<std::uint64_t>(number(r[1])), static_cast<std::uint64_t>(number(r[2]))});
}

Result<Verification> Projector::verify(const std::optional<std::string>& tenant) {
  {
    std::lock_guard lock(mutex_);
    if (verifying_) return fail(Code::kConflict, "a verification runs already");
    verifying_ = true;
  }
  auto out = read<Verification>(kLongestScan.count(), [this, &tenant](Db& db) {
    return verify_rows(log_, db, tenant, [this] { return stopping(); });
  });
  std::lock_guard lock(mutex_);
  verifying_ = false;
  return out;
}

}  // namespace soma::projections
