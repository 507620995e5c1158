// Opens, hands out, takes back.
#include "projections/postgres/reader_pool.h"

#include "projections/postgres/schema.h"

namespace soma::projections {

void ReaderPool::set_url(std::string url) {
  std::lock_guard lock(mutex_);
  url_ = std::move(url);
  idle_.clear();
}

Result<std::unique_ptr<Db>> ReaderPool::take(std::int64_t timeout_ms, bool fresh) {
  std::string url;
  std::unique_ptr<Db> db;
  {
    std::lock_guard lock(mutex_);
    url = url_;
    if (fresh) idle_.clear();
    if (!idle_.empty()) {
      db = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (!db) {
    if (url.empty()) return fail(Code::kUnavailable, "the views' database is not there yet");
    auto opened = Db::open(url);
    if (!opened) return tl::unexpected(opened.error());
    db = std::move(*opened);
    if (auto ok = use_schema(*db, kShown); !ok) return tl::unexpected(ok.error());
    if (auto ok = db->run("SET default_transaction_read_only = on"); !ok)
      return tl::unexpected(ok.error());
  }
  if (auto ok = db->run("SET statement_timeout = " + std::to_string(timeout_ms)); !ok && !fresh)
    return take(timeout_ms, true);  // it idled through a restart of the server
  else if (!ok)
    return tl::unexpected(ok.error());
  return db;
}

void ReaderPool::give_back(std::unique_ptr<Db> db) {
  std::lock_guard lock(mutex_);
  if (db->usable() && idle_.size() < kMaxIdle) idle_.push_back(std::move(db));
}

}  // namespace soma::projections
