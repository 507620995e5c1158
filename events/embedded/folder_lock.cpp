// Open-file-description locks: not lost when another descriptor of the file is closed, and can be
// asked for.
#include "events/embedded/folder_lock.h"

#include <fcntl.h>

#include <cerrno>
#include <chrono>
#include <fstream>
#include <thread>

namespace soma::events {

namespace {

struct flock whole_file() {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}

// The holder writes it just after it has taken the lock: whoever comes in between looks again.
int written_pid(const std::string& path) {
  constexpr int kTries = 200;
  for (int i = 0; i < kTries; ++i) {
    int pid = 0;
    std::ifstream file(path);
    if (file >> pid && pid > 0) return pid;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return 0;
}

}  // namespace

Status FolderLock::take(const std::string& folder) {
  const std::string path = folder + "/lock";
  fd_ = Fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (fd_.value < 0) return tl::unexpected(io_error("cannot open " + path, errno));
  struct flock lock = whole_file();
  if (::fcntl(fd_.value, F_OFD_SETLK, &lock) != 0) {
    if (errno != EAGAIN && errno != EACCES)
      return tl::unexpected(io_error("cannot lock " + path, errno));
    return fail(Code::kLocked, "the data folder is in use by process " +
                                   std::to_string(written_pid(path)) + " (" + path + ")");
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(fd_.value, 0) != 0 || ::pwrite(fd_.value, pid.data(), pid.size(), 0) < 0)
    return tl::unexpected(io_error("cannot write " + path, errno));
  return {};
}

std::optional<int> lock_holder(const std::string& folder) {
  const std::string path = folder + "/lock";
  Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (fd.value < 0) return {};
  struct flock lock = whole_file();
  if (::fcntl(fd.value, F_OFD_GETLK, &lock) != 0 || lock.l_type == F_UNLCK) return {};
  return written_pid(path);
}

}  // namespace soma::events
