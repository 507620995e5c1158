// Fills new tables from the whole log, beside those that are shown.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "events/log.h"
#include "projections/postgres/feeder.h"

namespace soma::projections {

// One rebuild: a thread with a connection of its own. One transaction fills the tables and makes
// their indexes, so that a crash leaves nothing half-made; then it follows the log in small
// transactions until it is taken over. The taker reads the rest and switches.
class Rebuild {
 public:
  Rebuild(const events::Log& log, std::string url, std::function<void()> on_change);
  ~Rebuild();  // stops it
  Rebuild(const Rebuild&) = delete;
  Rebuild& operator=(const Rebuild&) = delete;

  enum class State { kFilling, kReady, kFailed };
  State state() const { return state_; }
  Error error() const { return error_; }  // once failed
  const Counts& counts() const { return counts_; }
  std::uint64_t frames_total() const { return frames_total_; }
  // Once ready: it stops, and schema kFilling is nobody's until the caller switches.
  void finish();

 private:
  void run();
  Status fill();

  const events::Log& log_;
  const std::string url_;
  const std::function<void()> on_change_;
  Counts counts_;
  std::atomic<std::uint64_t> frames_total_{0};
  std::atomic<State> state_{State::kFilling};
  std::atomic<bool> stopping_{false};
  Error error_;
  std::mutex mutex_;
  std::unique_ptr<Db> db_;  // used by the thread alone, but for its interrupt
  std::thread thread_;
};

// For every connection that writes rows.
Status prepare_writer(Db& db);

}  // namespace soma::projections
