// Connections for reads, apart from the projector's.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "projections/postgres/db.h"

namespace soma::projections {

// Thread-safe. At most kMaxIdle connections wait; one is opened when none does. After a server that
// said nothing, readers are refused at once for kRest: they would hold their callers for as long.
class ReaderPool {
 public:
  static constexpr std::size_t kMaxIdle = 4;
  static constexpr std::chrono::seconds kRest{2};
  // The server's own word that a statement took too long comes first.
  static constexpr std::chrono::milliseconds kGrace{500};

  void set_url(std::string url);
  // Runs `work` on a connection that shows the views. Once more on a fresh one when the connection
  // was gone, or the tables changed under it: reads may be repeated.
  template <typename T>
  Result<T> with(std::int64_t timeout_ms, const std::function<Result<T>(Db&)>& work) {
    const auto until =
        std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms) + kGrace;
    for (int attempt = 0;; ++attempt) {
      auto db = take(timeout_ms, until, attempt > 0);
      if (!db) return tl::unexpected(db.error());
      Result<T> out = work(**db);
      if (!out && out.error().code == Code::kDeadlineExceeded) rest();
      // A server that was too slow said so when the time was up: again would be later still.
      const bool in_time = std::chrono::steady_clock::now() + kGrace < until;
      const bool again =
          !out && in_time &&
          (out.error().code == Code::kUnavailable || out.error().code == Code::kInternal);
      if (!again) give_back(std::move(*db));
      if (!again || attempt > 0) return out;
    }
  }

 private:
  Result<std::unique_ptr<Db>> take(std::int64_t timeout_ms,
                                   std::chrono::steady_clock::time_point until, bool fresh);
  void give_back(std::unique_ptr<Db> db);
  void rest();

  std::mutex mutex_;
  std::string url_;
  std::vector<std::unique_ptr<Db>> idle_;
  std::chrono::steady_clock::time_point rests_until_;
};

}  // namespace soma::projections
