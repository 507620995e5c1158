// One loop: whatever fails, the next turn begins with what the database says.
#include "projections/postgres/projector.h"

namespace soma::projections {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t kRoundBytes = 1 << 20;  // of each partition
// Between rounds under load: rows then go in by the hundred.
constexpr auto kLinger = 20ms;
constexpr std::uint64_t kFarBehind = 500;  // records; then it does not linger
constexpr std::chrono::milliseconds kIdle = 500ms, kMaxBackOff = 5000ms;
constexpr std::chrono::milliseconds kKnockAgain = 1000ms;  // while it takes no connection
// Nothing was written for so long: a word, so that a server that is gone is missed without a write.
constexpr std::chrono::milliseconds kSilence = 2000ms;
// Of the one connection that feeds the views of this database: SOMA in ASCII.
constexpr char kWriterLock[] = "SELECT pg_try_advisory_lock(1397706049)";

}  // namespace

Result<std::unique_ptr<Projections>> Projections::start(const events::Log& log, Options options) {
  return std::unique_ptr<Projections>(std::make_unique<Projector>(log, std::move(options)));
}

Projector::Projector(const events::Log& log, Options options)
    : log_(log), options_(std::move(options)) {
  if (own())
    cluster_ = PrivateCluster::at(options_.data_dir, [this] { return stopping(); });
  else
    readers_.set_url(options_.postgres_url);
  follower_ = const_cast<events::Log&>(log_).follow([this](PartitionId) { wake(); });
  thread_ = std::thread([this] { run(); });
}

Projector::~Projector() {
  const_cast<events::Log&>(log_).unfollow(follower_);
  shut_down();
  thread_.join();
}

void Projector::shut_down() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    if (writing_) writing_->interrupt();
  }
  changed_.notify_all();
  moved_.notify_all();
}

bool Projector::stopping() const {
  std::lock_guard lock(mutex_);
  return stopping_;
}

void Projector::wake() {
  {
    std::lock_guard lock(mutex_);
    if (work_) return;
    work_ = true;
  }
  changed_.notify_all();
}

void Projector::notice(bool problem, std::string event, std::string detail) const {
  if (options_.notice) options_.notice({problem, std::move(event), std::move(detail)});
}

void Projector::set_problem(std::string problem) {
  std::lock_guard lock(mutex_);
  problem_ = std::move(problem);
  moved_.notify_all();
}

bool Projector::idle(std::chrono::milliseconds at_most, bool linger) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, at_most,
                    [&] { return work_ || stopping_ || rebuild_wanted_ || over_wanted_; });
  if (linger && waiting_ == 0 && !stopping_ && !rebuild_wanted_)
    changed_.wait_for(lock, kLinger, [&] { return stopping_ || waiting_ > 0; });
  work_ = false;
  return !stopping_ && !over_wanted_;
}

void Projector::run() {
  std::chrono::milliseconds back_off = 100ms;
  std::string told;
  for (;;) {
    const auto began = Clock::now();
    auto ended = connect_and_follow();
    bool over = false;
    {
      std::lock_guard lock(mutex_);
      if (stopping_) break;
      over = over_wanted_;
      if (!over) ++failures_;
    }
    if (over) {
      discard_cluster();
      continue;
    }
    const std::string problem = ended ? "the connection ended" : ended.error().message;
    set_problem(problem);
    if (problem != told) notice(true, "projections_interrupted", problem);
    told = problem;
    if (std::exchange(advanced_, false) || Clock::now() - began > 5s)
      back_off = 100ms;  // it worked
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, back_off, [&] { return stopping_ || over_wanted_; });
    if (stopping_) break;
    // An own one that does not come up is started each time.
    back_off = std::min(back_off * 2, connected_ || cluster_ ? kMaxBackOff : kKnockAgain);
  }
  rebuild_.reset();
  readers_.set_url({});
  cluster_.reset();
}

// Readers and a rebuild that runs lose their connections, and begin again with the new cluster.
void Projector::discard_cluster() {
  rebuild_.reset();
  readers_.set_url({});
  cluster_->discard();
  std::lock_guard lock(mutex_);
  over_wanted_ = false;
  shown_ = false;
  rebuild_shown_.running = false;
  problem_ = "the views are being made anew";
  reached_.clear();
  ++overs_done_;
}

Status Projector::connect_and_follow() {
  connected_ = false;
  std::string url = options_.postgres_url;
  if (cluster_) {
    const bool fresh = !cluster_->running();
    if (auto up = cluster_->ensure(); !up) return up;
    url = cluster_->url();
    if (fresh) readers_.set_url(url);
  }
  auto opened = Db::open(url);
  if (!opened) return tl::unexpected(opened.error());
  const auto db = std::move(*opened);
  connected_ = true;
  {
    std::lock_guard lock(mutex_);
    found_ = true;
    if (stopping_ || over_wanted_) return {};
    writing_ = db.get();
  }
  Status out = prepare_writer(*db);
  for (bool writer = false; out && !writer;) {
    auto lock = become_writer(*db);
    if (!lock)
      out = tl::unexpected(lock.error());
    else if (writer = *lock; !writer)
      out = follow_another(*db);
    std::lock_guard guard(mutex_);
    if (stopping_) break;
  }
  if (out) out = follow(*db);
  std::lock_guard lock(mutex_);
  writing_ = nullptr;
  return out;
}

Result<bool> Projector::become_writer(Db& db) {
  auto got = db.query(kWriterLock, {});
  if (!got) return tl::unexpected(got.error());
  const bool writer = (*got)[0][0] == "t";
  std::lock_guard lock(mutex_);
  passive_ = !writer;
  return writer;
}

// Another node's projector feeds these tables: only watch how far it is.
Status Projector::follow_another(Db& db) {
  auto shown = shown_schema(db);
  if (!shown) return tl::unexpected(shown.error());
  bool usable = *shown == Shown::kCurrent;
  Feeder feeder(log_, db, counts_);
  if (usable) {
    if (auto ok = use_schema(db, kShown); !ok) return ok;
    if (auto ok = feeder.load(); !ok) return ok;
    if (auto ours = feeder.check_against_log(); !ours) {
      if (ours.error().code != Code::kCorrupt) return ours;
      usable = false;
    }
  }
  {
    std::lock_guard lock(mutex_);
    shown_ = usable;
    problem_ = usable ? "" : "the views are being built by another node";
    if (!usable) reached_.clear();
  }
  if (usable) publish(feeder.cursors());
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, kIdle, [&] { return stopping_; });
  return {};
}

Status Projector::follow(Db& db) {
  auto shown = shown_schema(db);
  if (!shown) return tl::unexpected(shown.error());
  Feeder feeder(log_, db, counts_);
  bool usable = *shown == Shown::kCurrent;
  std::string reason = *shown == Shown::kAbsent ? "first start" : "tables of another build";
  if (usable) {
    if (auto ok = use_schema(db, kShown); !ok) return ok;
    if (auto ok = feeder.load(); !ok) return ok;
    if (auto ours = feeder.check_against_log(); !ours) {
      if (ours.error().code != Code::kCorrupt) return ours;
      usable = false;
      reason = ours.error().message;
    }
  }
  {
    std::lock_guard lock(mutex_);
    shown_ = usable;
    problem_ = usable ? "" : "the views are being built";
    if (!usable) reached_.clear();
    if (!usable && !rebuild_wanted_ && !rebuild_) {
      rebuild_wanted_ = true;
      rebuild_shown_.reason = reason;
    }
  }
  if (usable) publish(feeder.cursors());
  moved_.notify_all();
  if (usable) notice(false, "projections_following", "lag " + std::to_string(lag()));
  for (auto spoken = Clock::now();;) {
    if (auto ok = tend_rebuild(db, feeder); !ok) return ok;
    bool more = false;
    if (shown_) {  // only this thread writes it
      auto round = feeder.round(kRoundBytes);
      if (!round) {
        if (round.error().code == Code::kCorrupt) start_rebuild(round.error().message);
        return tl::unexpected(round.error());
      }
      more = *round;
      if (more) publish(feeder.cursors());
      advanced_ |= more;
    }
    if (more) {
      spoken = Clock::now();
    } else if (Clock::now() - spoken > kSilence) {
      if (auto there = db.query("SELECT 1", {}); !there) return tl::unexpected(there.error());
      spoken = Clock::now();
    }
    const bool behind = more && lag() > kFarBehind;
    if (!idle(more ? 0ms : kIdle, !behind)) return {};
  }
}

void Projector::publish(const Cursors& cursors) {
  {
    std::lock_guard lock(mutex_);
    for (const auto& [p, at] : cursors) reached_[PartitionId{p}] = at.next;
  }
  moved_.notify_all();
}

// Begins, watches and ends a rebuild, between two rounds.
Status Projector::tend_rebuild(Db& db, Feeder& feeder) {
  if (!rebuild_) {
    std::lock_guard lock(mutex_);
    if (!rebuild_wanted_) return {};
    rebuild_wanted_ = false;
    ++rebuilds_begun_;
    rebuild_shown_.running = true;
    rebuild_shown_.error.clear();
    rebuild_began_ = Clock::now();
    rebuild_ = std::make_unique<Rebuild>(log_, cluster_ ? cluster_->url() : options_.postgres_url,
                                         [this] { wake(); });
    return {};
  }
  switch (rebuild_->state()) {
    case Rebuild::State::kFilling:
      return {};
    case Rebuild::State::kFailed: {
      const Error error = rebuild_->error();
      rebuild_ended(&error);
      if (!shown_) return tl::unexpected(error);  // nothing to show: try again after a while
      return {};
    }
    case Rebuild::State::kReady:
      break;
  }
  auto switched = take_over(db, feeder);
  rebuild_ended(switched ? nullptr : &switched.error());
  if (switched) publish(feeder.cursors());
  return switched;
}

// The new tables catch up with the old ones, then take their place.
Status Projector::take_over(Db& db, Feeder& feeder) {
  const Cursors old = feeder.cursors();
  if (auto ok = use_schema(db, kFilling); !ok) return ok;
  if (auto ok = feeder.load(); !ok) return ok;
  for (bool behind = true; behind;) {
    behind = false;
    for (const auto& [p, at] : old) {
      const auto it = feeder.cursors().find(p);
      behind |= shown_ && (it == feeder.cursors().end() || it->second.next < at.next);
    }
    if (!behind) break;
    auto round = feeder.round(kRoundBytes);
    if (!round) return tl::unexpected(round.error());
    if (!*round) break;
  }
  db.set_patience(kLongestScan);  // who reads the old tables holds up their removal
  auto switched = switch_schemas(db);
  db.set_patience(Db::kPatience);
  if (!switched) return switched;
  if (auto ok = use_schema(db, kShown); !ok) return ok;
  {
    std::lock_guard lock(mutex_);
    shown_ = true;
    problem_.clear();
    reached_.clear();
  }
  return {};
}

void Projector::rebuild_ended(const Error* error) {
  std::string detail;
  {
    std::lock_guard lock(mutex_);
    auto& r = rebuild_shown_;
    r.running = false;
    r.frames_read = rebuild_->counts().frames;
    r.frames_total = rebuild_->frames_total();
    r.rows = rebuild_->counts().rows;
    r.seconds = std::chrono::duration<double>(Clock::now() - rebuild_began_).count();
    r.error = error ? error->message : "";
    ++(error ? r.failed : r.done);
    if (!error) rebuilt_ = rebuilds_begun_;
    counts_.rejected += rebuild_->counts().rejected;
    detail = error ? r.error
                   : std::to_string(r.rows) + " rows in " + std::to_string(r.seconds) + " s; " +
                         r.reason;
  }
  rebuild_.reset();
  moved_.notify_all();
  notice(error != nullptr, error ? "projections_rebuild_failed" : "projections_rebuilt", detail);
}

}  // namespace soma::projections
