// The real system calls.
#include "events/embedded/file_ops.h"

#include <fcntl.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

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

int sync_directory(const std::string& folder) {
  Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.value < 0) return errno;
  return ::fsync(fd.value) == 0 ? 0 : errno;
}

}  // namespace

FileOps FileOps::real() {
  return {
      write_all,
      [](int fd) { return ::fdatasync(fd) == 0 ? 0 : errno; },
      [](int fd, std::size_t size) { return ::posix_fallocate(fd, 0, static_cast<off_t>(size)); },
      [](const std::string& from, const std::string& to) {
        return ::rename(from.c_str(), to.c_str()) == 0 ? 0 : errno;
      },
      sync_directory,
  };
}

Error io_error(const std::string& what, int error) {
  return {error == ENOSPC || error == EDQUOT ? Code::kStorageFull : Code::kIo,
          what + ": " + std::strerror(error),
          {}};
}

int read_at(int fd, char* data, std::size_t size, off_t at) {
  while (size > 0) {
    const ssize_t n = ::pread(fd, data, size, at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) return EIO;
    data += n;
    at += n;
    size -= static_cast<std::size_t>(n);
  }
  return 0;
}

Status make_folder(const FileOps& ops, const std::string& folder) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path path = fs::absolute(folder, error);
  fs::path made;
  for (const auto& part : path) {
    const fs::path parent = made;
    made /= part;
    if (fs::is_directory(made, error) || part.empty()) continue;
    if (!fs::create_directory(made, error) && error)
      return fail(Code::kIo, "cannot make " + made.string() + ": " + error.message());
    if (int e = ops.sync_folder(parent.string()))
      return tl::unexpected(io_error("cannot sync " + parent.string(), e));
  }
  return {};
}

}  // namespace soma::events
