// Rounds: read, gather, one transaction.
#include "projections/postgres/feeder.h"

#include <chrono>
#include <future>
#include <optional>

#include "schemas/base/planted.h"

namespace soma::projections {

namespace {

constexpr std::size_t kFillBytes = 1 << 20;    // of the log, a batch of a rebuild
constexpr std::int64_t kCursorEveryMs = 1000;  // when no row went with it

struct Piece {
  std::uint32_t partition = 0;
  std::vector<events::ValidFrame> frames;
  Batch batch;  // their rows
  events::Bookmark reached;
  std::uint64_t events = 0;
};

// The log from `from` up to `ends`, a partition after the other. Used by one thread at a time.
class Pieces {
 public:
  Pieces(const events::Log& log, Cursors from, std::map<std::uint32_t, Offset> ends)
      : log_(log), from_(std::move(from)), ends_(std::move(ends)), at_(ends_.begin()) {}

  Result<std::optional<Piece>> next() {
    for (; at_ != ends_.end(); ++at_, reader_.reset()) {
      const auto [p, end] = *at_;
      if (!reader_) reader_.emplace(log_, PartitionId{p}, from_[p]);
      const Offset before = reader_->next_offset();
      if (before >= end) continue;
      auto frames = reader_->next(kFillBytes);
      if (!frames) return tl::unexpected(frames.error());
      if (frames->empty() && reader_->next_offset() == before) continue;
      Piece piece{p, std::move(*frames), {}, reader_->bookmark(), 0};
      for (const auto& frame : piece.frames) {
        rows_of(frame, piece.batch);
        piece.events += events_in(*frame.frame);
      }
      return piece;
    }
    return std::nullopt;
  }

 private:
  const events::Log& log_;
  Cursors from_;
  const std::map<std::uint32_t, Offset> ends_;
  std::map<std::uint32_t, Offset>::const_iterator at_;
  std::optional<events::FrameReader> reader_;
};

}  // namespace

std::int64_t Feeder::steady_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

Status Feeder::load() {
  auto cursors = load_cursors(db_, false);
  if (!cursors) return tl::unexpected(cursors.error());
  cursors_ = std::move(*cursors);
  unsaved_.clear();
  return {};
}

Status Feeder::check_against_log() const {
  for (const auto& [p, at] : cursors_) {
    auto ours =
        p < log_.partition_count() ? events::holds(log_, PartitionId{p}, at) : Result<bool>(false);
    if (!ours) return tl::unexpected(ours.error());
    if (!*ours)
      return fail(Code::kCorrupt, "the rows of partition " + std::to_string(p) +
                                      " stem from another log than this one");
  }
  return {};
}

Result<bool> Feeder::round(std::size_t max_bytes) {
  const std::int64_t began = now_us_();
  Frames all;
  Cursors moved;
  std::uint64_t events = 0;
  for (std::uint32_t p = 0; p < log_.partition_count(); ++p) {
    const events::Bookmark& at = cursors_[p];
    if (log_.end(PartitionId{p}) <= at.next) continue;
    events::FrameReader reader(log_, PartitionId{p}, at);
    auto frames = reader.next(max_bytes);
    if (!frames) return tl::unexpected(frames.error());
    if (reader.next_offset() == at.next) continue;
    for (auto& frame : *frames) {
      events += events_in(*frame.frame);
      all.push_back(std::move(frame));
    }
    moved[p] = reader.bookmark();
  }
  batch_.clear();
  for (const auto& frame : all) rows_of(frame, batch_);
  for (auto& [p, at] : moved) unsaved_[p] = at;
  const bool due = now_us_() / 1000 - saved_at_ms_ >= kCursorEveryMs;
  if (!batch_.empty() || (due && !unsaved_.empty())) {
    if (auto ok = db_.run("BEGIN"); !ok) return tl::unexpected(ok.error());
    if (auto ok = write(all); !ok) return tl::unexpected(ok.error());
    if (planted(Bug::kCursorBesideRows))
      if (auto ok = db_.run("COMMIT"); !ok) return tl::unexpected(ok.error());
    if (auto ok = store(unsaved_); !ok) return tl::unexpected(ok.error());
    if (auto ok = db_.run("COMMIT"); !ok && !planted(Bug::kCommitTrusted))
      return tl::unexpected(ok.error());
    unsaved_.clear();
    saved_at_ms_ = now_us_() / 1000;
    counts_.batches.fetch_add(1, std::memory_order_relaxed);
  }
  for (auto& [p, at] : moved) cursors_[p] = std::move(at);
  counts_.events.fetch_add(events, std::memory_order_relaxed);
  counts_.frames.fetch_add(all.size(), std::memory_order_relaxed);
  if (!moved.empty())
    counts_.busy_us.fetch_add(static_cast<std::uint64_t>(now_us_() - began),
                              std::memory_order_relaxed);
  return !moved.empty();
}

// The next piece is read and folded while PostgreSQL takes the one before.
Status Feeder::fill(const std::map<std::uint32_t, Offset>& ends,
                    const std::function<bool()>& stop) {
  Pieces pieces(log_, cursors_, ends);
  const auto ahead = [&pieces] {
    return std::async(std::launch::async, [&pieces] { return pieces.next(); });
  };
  for (auto coming = ahead();;) {
    auto piece = coming.get();
    if (!piece) return tl::unexpected(piece.error());
    if (!*piece) return {};
    if (stop()) return fail(Code::kCancelled, "the rebuild was stopped");
    coming = ahead();
    auto& [partition, frames, batch, reached, events] = **piece;
    batch_ = std::move(batch);
    if (auto ok = write(frames); !ok) return ok;
    counts_.events.fetch_add(events, std::memory_order_relaxed);
    counts_.frames.fetch_add(frames.size(), std::memory_order_relaxed);
    cursors_[partition] = std::move(reached);
    if (auto ok = store({{partition, cursors_[partition]}}); !ok) return ok;
  }
}

// `batch_` holds the frames' rows.
Status Feeder::write(const Frames& frames) {
  if (batch_.empty()) return {};
  if (auto ok = db_.run("SAVEPOINT rows"); !ok) return ok;
  if (auto ok = batch_.write(db_); !ok) {
    if (ok.error().code != Code::kInvalidArgument) return ok;
    if (auto back = db_.run("ROLLBACK TO SAVEPOINT rows"); !back) return back;
    return write_with_care(frames);
  }
  counts_.rows.fetch_add(batch_.rows(), std::memory_order_relaxed);
  return db_.run("RELEASE SAVEPOINT rows");
}

// Entry by entry, for what cannot be stored is one event of one actor.
Status Feeder::write_with_care(const Frames& frames) {
  for (const auto& frame : frames)
    for (const auto& entry : frame.frame->entries()) {
      auto one = std::make_shared<v1::Frame>();
      *one->add_entries() = entry;
      const events::ValidFrame alone{frame.position, std::move(one), frame.hash};
      batch_.clear();
      rows_of(alone, batch_);
      if (batch_.empty()) continue;
      if (auto ok = db_.run("SAVEPOINT entry"); !ok) return ok;
      auto ok = batch_.write(db_);
      if (!ok) {
        if (ok.error().code != Code::kInvalidArgument) return ok;
        if (auto back = db_.run("ROLLBACK TO SAVEPOINT entry"); !back) return back;
        batch_.clear();
        Rejecting sink(batch_, ok.error().message);
        rows_of(alone, sink);
        if (auto kept = batch_.write(db_); !kept) return kept;
        counts_.rejected.fetch_add(batch_.rows(), std::memory_order_relaxed);
      }
      counts_.rows.fetch_add(batch_.rows(), std::memory_order_relaxed);
      if (auto released = db_.run("RELEASE SAVEPOINT entry"); !released) return released;
    }
  return {};
}

Status Feeder::store(const Cursors& moved) {
  for (const auto& [p, at] : moved)
    if (auto ok = store_cursor(db_, p, at); !ok) return ok;
  return {};
}

}  // namespace soma::projections
