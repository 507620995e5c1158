// Makes the file of the next segment ahead of its need, so that a commit seldom waits for 64 MiB of
// zeros.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "events/embedded/file_ops.h"

namespace soma::events {

// Owns one thread. While the disk is full it tries again every second, so that space is noticed by
// itself.
class SegmentMaker {
 public:
  SegmentMaker(const FileOps& ops, std::string temp_path, std::uint64_t segment_bytes);
  ~SegmentMaker();

  void prepare();  // begins to make a spare, if there is none
  // The spare: zeros on the disk under temp_path(). Waits for it. kStorageFull, kIo.
  Result<Fd> take();
  bool has_spare() const;
  const std::string& temp_path() const { return temp_path_; }

 private:
  void loop();
  Result<Fd> make();
  bool stopping() const;

  const FileOps& ops_;
  const std::string temp_path_;
  const std::uint64_t segment_bytes_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool wanted_ = false, hurry_ = false, stopping_ = false;
  std::uint64_t attempts_ = 0;  // finished ones
  std::optional<Fd> spare_;
  Error error_;  // of the last attempt, when there is no spare
  std::thread thread_;
};

}  // namespace soma::events
