// Brings every valid frame of every partition to one consumer, each once and in order, off the
// threads that commit.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "events/frames.h"

namespace soma::runtime {

// Owns one thread; `take` runs on it alone. Frames come from the host as they commit, and from the
// log where the host has none to give: what was there at start, what another node wrote, what did
// not fit the queue. The fence tells which is which. `log` outlives it. Thread-safe.
class JournalFollower {
 public:
  static constexpr std::size_t kMaxQueue = 65536;  // frames; beyond, they are read from the log
  static constexpr std::size_t kMaxQueueBytes = 64 << 20;  // of these frames; likewise
  using Take = std::function<void(const events::ValidFrame&)>;

  // kLog: frames come from the log alone, as it grows; observed() does nothing.
  enum class From : std::uint8_t { kHostAndLog, kLog };
  // Of each partition it begins behind its mark, which must hold (events::holds); without marks at
  // the log's start.
  JournalFollower(const events::Log& log, Take take, From from = From::kHostAndLog,
                  std::vector<events::Bookmark> marks = {});
  ~JournalFollower();
  JournalFollower(const JournalFollower&) = delete;
  JournalFollower& operator=(const JournalFollower&) = delete;

  // A host thread; a push under a lock.
  void observed(const events::ValidFrame& frame);
  // Until all that was observed before the call is taken, and all that the log held at start.
  bool settle(std::int64_t timeout_ms) const;
  bool wait_for(Position position, std::int64_t timeout_ms) const;
  Offset next(PartitionId partition) const;  // first offset not taken
  struct Progress {
    std::uint64_t taken = 0, total = 0;  // records of the log, at start and since
    std::string problem;                 // why it cannot go on; it tries again
  };
  Progress progress() const;
  // Forgets all: `clear` is called on the follower's thread, and the log is taken from its start.
  // settle() then waits for all that the log holds now.
  void start_over(std::function<void()> clear);
  void stop();  // waits end, false; nothing more is taken

 private:
  void run();
  Status read_log(std::uint32_t partition, Offset until);
  Status offer(const events::ValidFrame& frame);
  void took(std::uint32_t partition);
  bool stopping() const;
  using Ends = std::map<std::uint32_t, Offset>;
  bool settled_at(std::uint64_t observed, const Ends& ends) const;  // under the lock

  const events::Log& log_;
  const Take take_;
  void forget();
  std::map<std::uint32_t, events::Bookmark> marks_;  // the thread's
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_, moved_;
  struct Waiting {
    events::ValidFrame frame;
    std::size_t bytes = 0;
  };
  std::deque<Waiting> queue_;
  std::size_t queue_bytes_ = 0;
  std::map<std::uint32_t, Offset> next_, at_start_;
  std::uint64_t observed_ = 0, done_ = 0;
  const From from_;
  std::uint64_t subscription_ = 0;
  std::set<std::uint32_t> grown_;
  bool overflow_ = false, stopping_ = false;
  std::string problem_;
  std::function<void()> clear_;  // wanted: to start over
  std::thread thread_;
};

}  // namespace soma::runtime
