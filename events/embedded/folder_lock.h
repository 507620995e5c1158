// One process owns a log folder: a lock on FOLDER/lock, which names the owner's pid.
#pragma once

#include <optional>
#include <string>

#include "events/embedded/file_ops.h"

namespace soma::events {

// Held until destroyed; the kernel frees it when the process ends, however it ends.
class FolderLock {
 public:
  // kLocked names the holder's pid.
  Status take(const std::string& folder);

 private:
  Fd fd_;
};

// The pid that holds the folder's lock, if a process does. Asks without taking the lock, so that
// looking never makes a starting node fail.
std::optional<int> lock_holder(const std::string& folder);

}  // namespace soma::events
