// The real system calls.
#include "events/embedded/file_ops.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

namespace soma::events {

namespace {

int write_all(int fd, const void* data, std::size_t size, off_t at) {
  const char* p = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t n = ::pwrite(fd, p, size, at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) return EIO;
    p += n;
    at += n;
    size -= static_cast<std::size_t>(n);
  }
  return 0;
}

// Writes zeros rather than reserving extents: a later write then changes no metadata, so its fdatasync
// does not wait for the file system's journal.
int write_zeros(int fd, std::size_t size) {
  if (int error = ::posix_fallocate(fd, 0, static_cast<off_t>(size)); error != 0) return error;
  const std::vector<char> zeros(1 << 20);
  for (std::size_t at = 0; at < size; at += zeros.size())
    if (int error = write_all(fd, zeros.data(), std::min(zeros.size(), size - at), static_cast<off_t>(at)))
      return error;
  return ::fsync(fd) == 0 ? 0 : errno;
}

}  // namespace

FileOps FileOps::real() {
  return {write_all, [](int fd) { return ::fdatasync(fd) == 0 ? 0 : errno; }, write_zeros};
}

}  // namespace soma::events
