// Looks after full segments in the background: makes the indexes that starts go by, and reads in
// full what a start took on the word of its index.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "events/embedded/scan.h"

namespace soma::events {

// Owns one thread of the lowest priority.
class Caretaker {
 public:
  using OnDamage = std::function<void(Error)>;  // kCorrupt names file and byte; kIo. At most once.

  // Segments below `unread` were not read at the start; `state` is the log's before segment
  // `unread`.
  Caretaker(std::string folder, std::uint64_t unread, LogState state, OnDamage on_damage);
  ~Caretaker();  // soon
  Caretaker(const Caretaker&) = delete;
  Caretaker& operator=(const Caretaker&) = delete;

  // Segments below `current` are full and will not change.
  void full_below(std::uint64_t current);
  // Until all that is full has its index and was read since the start, or damage was found.
  void wait();

 private:
  void loop();
  bool next(bool& seal, std::uint64_t& segment);
  bool seal(std::uint64_t segment);
  bool reread(std::uint64_t segment);
  bool damaged(Error error);

  const std::string folder_;
  const std::uint64_t unread_;
  const OnDamage on_damage_;
  LogState sealed_state_;  // before segment to_seal_
  LogState reread_state_;  // before segment to_reread_
  std::uint64_t to_seal_, to_reread_ = 0;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t current_ = 0;
  std::atomic<bool> stopping_ = false;
  std::optional<std::uint64_t> idle_for_;  // the `current_` for which nothing is left to do
  bool failed_ = false;
  std::thread thread_;
};

}  // namespace soma::events
