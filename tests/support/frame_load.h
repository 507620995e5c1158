// An owner under load that claims anew after each failure, and the judgement of all owners' work.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "events/frames.h"

namespace soma::support {

// Appends numbered frames to one partition from a thread of its own until told to stop. What it was
// told to be valid is in acknowledged(): number -> position. Numbers are unique across owners with
// different `id`.
class FrameLoad {
 public:
  FrameLoad(events::Log& log, PartitionId partition, std::uint32_t id, std::size_t in_flight = 8);
  ~FrameLoad();
  void stop();  // waits for what is in flight
  std::map<std::int64_t, Position> acknowledged() const;
  std::size_t count() const;
  std::uint64_t claims() const { return claims_; }

 private:
  void run();
  bool claim();
  void append_all();

  events::Log& log_;
  const PartitionId partition_;
  const std::uint32_t id_;
  const std::size_t limit_;
  std::unique_ptr<events::FrameWriter> writer_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::int64_t, Position> acknowledged_;
  std::size_t in_flight_ = 0;
  bool failed_ = false;
  std::int64_t next_ = 0;
  std::atomic<std::uint64_t> claims_{0};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

struct Judgement {
  std::size_t valid = 0;     // frames, without claims
  std::uint64_t voided = 0;  // records that do not count
  std::string problem;  // empty: every acknowledged frame is valid, where it was said to be, once
};
// Reads the partition from its start.
Judgement judge(const events::Log& log, PartitionId partition,
                const std::map<std::int64_t, Position>& acknowledged);

// True once `done`; false after `seconds`.
bool eventually(const std::function<bool()>& done, int seconds = 30);

}  // namespace soma::support
