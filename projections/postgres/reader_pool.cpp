// Opens, hands out, takes back.
#include "projections/postgres/reader_pool.h"

#include "projections/postgres/schema.h"

namespace soma::projections {

void ReaderPool::set_url(std::string url) {
  std::lock_guard lock(mutex_);
  url_ = std::move(url);
  idle_.clear();
}

Result<std::unique_ptr<Db>> ReaderPool::take(std::int64_t timeout_ms,
                                             std::chrono::steady_clock::time_point until,
                                             bool fresh) {
  std::string url;
  std::unique_ptr<Db> db;
  {
    std::lock_guard lock(mutex_);
    if (std::chrono::steady_clock::now() < rests_until_)
      return fail(Code::kUnavailable, "the views' database did not answer a moment ago");
    url = url_;
    if (fresh) idle_.clear();
    if (!idle_.empty()) {
      db = std::move(idle_.back());
      idle_.pop_back();
      db->set_deadline(until);
    }
  }
  if (!db) {
    if (url.empty()) return fail(Code::kUnavailable, "the views' database is not there yet");
    auto opened = Db::open(url);
    if (!opened) {
      if (opened.error().code == Code::kDeadlineExceeded) rest();
      return tl::unexpected(opened.error());
    }
    db = std::move(*opened);
    db->set_deadline(until);
    if (auto ok = use_schema(*db, kShown); !ok) return tl::unexpected(ok.error());
    if (auto ok = db->run("SET default_transaction_read_only = on"); !ok)
      return tl::unexpected(ok.error());
  }
  if (auto ok = db->run("SET statement_timeout = " + std::to_string(timeout_ms)); !ok) {
    const bool silent = ok.error().code == Code::kDeadlineExceeded;
    if (silent) rest();
    // It may only have idled through a restart of the server.
    return fresh || silent ? tl::unexpected(ok.error()) : take(timeout_ms, until, true);
  }
  return db;
}

void ReaderPool::rest() {
  std::lock_guard lock(mutex_);
  rests_until_ = std::chrono::steady_clock::now() + kRest;
  idle_.clear();
}

void ReaderPool::give_back(std::unique_ptr<Db> db) {
  std::lock_guard lock(mutex_);
  if (db->usable() && idle_.size() < kMaxIdle) idle_.push_back(std::move(db));
}

}  // namespace soma::projections
