// Preloaded into `soma`: records every write and sync of one folder, so that a test can make the
// images that a power cut might leave, and fails or skips syncs and writes where the test says so.
//
// SYNC_RECORDER_FOLDER: what is recorded. SYNC_RECORDER_OUT: the record. SYNC_RECORDER_CONTROL: a
// file whose first byte, if it exists, says what happens from now on: 'n' syncs do nothing and
// return success, 'e' they do nothing and fail with EIO, 'w' writes do nothing and fail with EIO,
// 't' they store half of what they were given, in whole sectors, and fail with EIO.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <string_view>

namespace {

enum Kind : std::uint32_t {
  kName = 1,
  kWrite,
  kSync,
  kRename,
  kSyncFolder,
  kUnlink,
  kSize,
  kFailed
};

constexpr size_t kSector = 512;  // what a disk stores whole

struct Entry {
  std::uint32_t kind;
  std::uint32_t text_bytes;  // of what follows: data, or names separated by a zero
  std::uint64_t file;        // inode
  std::uint64_t at;
};

const std::string& setting(const char* name) {
  static std::mutex mutex;
  static std::string folder, out, control;
  std::string& slot = name[14] == 'F' ? folder : name[14] == 'O' ? out : control;
  std::lock_guard lock(mutex);
  if (slot.empty())
    if (const char* v = std::getenv(name)) slot = v;
  return slot;
}

const std::string& folder() { return setting("SYNC_RECORDER_FOLDER"); }

bool within(std::string_view path) {
  return !folder().empty() && path.starts_with(folder()) &&
         (path.size() == folder().size() || path[folder().size()] == '/');
}

// One write a record: O_APPEND keeps records of several threads whole.
void record(Kind kind, std::uint64_t file, std::uint64_t at, std::string_view text) {
  static const int fd =
      static_cast<int>(::syscall(SYS_openat, AT_FDCWD, setting("SYNC_RECORDER_OUT").c_str(),
                                 O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  Entry e{kind, static_cast<std::uint32_t>(text.size()), file, at};
  iovec parts[2] = {{&e, sizeof e}, {const_cast<char*>(text.data()), text.size()}};
  const long want = static_cast<long>(sizeof e + text.size());
  if (::syscall(SYS_writev, fd, parts, 2) != want)
    std::abort();  // a record with holes proves nothing
}

std::string path_of(int fd) {
  char link[64], path[4096];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t n = ::readlink(link, path, sizeof path);
  return n < 0 ? std::string() : std::string(path, static_cast<std::size_t>(n));
}

std::uint64_t inode(int fd) {
  struct stat st {};
  return ::fstat(fd, &st) == 0 ? st.st_ino : 0;
}

char control() {
  const std::string& path = setting("SYNC_RECORDER_CONTROL");
  const int fd =
      static_cast<int>(::syscall(SYS_openat, AT_FDCWD, path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd < 0) return 0;
  char c = 0;
  if (::syscall(SYS_read, fd, &c, 1) != 1) c = 0;
  ::syscall(SYS_close, fd);
  return c;
}

template <typename F>
F next(const char* name) {
  return reinterpret_cast<F>(::dlsym(RTLD_NEXT, name));
}

int sync_with(int fd, const char* name) {
  static const auto real_data = next<int (*)(int)>("fdatasync");
  static const auto real_all = next<int (*)(int)>("fsync");
  const auto real = name[1] == 'd' ? real_data : real_all;
  const std::string path = path_of(fd);
  if (!within(path)) return real(fd);
  switch (control()) {
    case 'n':
      return 0;
    case 'e':
      record(kFailed, inode(fd), 0, {});
      errno = EIO;
      return -1;
    default:
      break;
  }
  const int result = real(fd);
  if (result == 0) record(path == folder() ? kSyncFolder : kSync, inode(fd), 0, {});
  return result;
}

int opened(int fd, int flags) {
  if (fd < 0 || (flags & O_ACCMODE) == O_RDONLY) return fd;
  const int kept = errno;
  const std::string path = path_of(fd);
  if (within(path)) {
    record(kName, inode(fd), 0, path.substr(folder().size() + 1));
    if (flags & O_TRUNC) record(kSize, inode(fd), 0, {});
  }
  errno = kept;
  return fd;
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  va_list args;
  va_start(args, flags);
  const mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
  va_end(args);
  static const auto real = next<int (*)(const char*, int, ...)>("open");
  return opened(real(path, flags, mode), flags);
}
int open64(const char* path, int flags, ...) {
  va_list args;
  va_start(args, flags);
  const mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
  va_end(args);
  static const auto real = next<int (*)(const char*, int, ...)>("open64");
  return opened(real(path, flags, mode), flags);
}

ssize_t pwrite(int fd, const void* data, size_t size, off_t at) {
  static const auto real = next<ssize_t (*)(int, const void*, size_t, off_t)>("pwrite");
  if (!within(path_of(fd))) return real(fd, data, size, at);
  const char what = control();
  const bool fails = what == 'w' || what == 't';
  const size_t stored = what == 'w' ? 0 : what == 't' ? size / 2 / kSector * kSector : size;
  if (stored > 0) {
    record(kWrite, inode(fd), static_cast<std::uint64_t>(at),
           {static_cast<const char*>(data), stored});
    const ssize_t written = real(fd, data, stored, at);
    if (!fails) return written;
  }
  record(kFailed, inode(fd), 0, {});
  errno = EIO;
  return -1;
}
ssize_t pwrite64(int fd, const void* data, size_t size, off_t at) {
  return pwrite(fd, data, size, at);
}

int posix_fallocate(int fd, off_t at, off_t size) {
  static const auto real = next<int (*)(int, off_t, off_t)>("posix_fallocate");
  if (within(path_of(fd))) record(kSize, inode(fd), static_cast<std::uint64_t>(at + size), {});
  return real(fd, at, size);
}
int posix_fallocate64(int fd, off_t at, off_t size) { return posix_fallocate(fd, at, size); }

int ftruncate(int fd, off_t size) {
  static const auto real = next<int (*)(int, off_t)>("ftruncate");
  if (within(path_of(fd))) record(kSize, inode(fd), static_cast<std::uint64_t>(size), {});
  return real(fd, size);
}
int ftruncate64(int fd, off_t size) { return ftruncate(fd, size); }

int rename(const char* from, const char* to) {
  static const auto real = next<int (*)(const char*, const char*)>("rename");
  if (within(from)) {
    std::string names(from + folder().size() + 1);
    names.push_back('\0');
    names += to + folder().size() + 1;
    record(kRename, 0, 0, names);
  }
  return real(from, to);
}
int unlink(const char* path) {
  static const auto real = next<int (*)(const char*)>("unlink");
  if (within(path)) record(kUnlink, 0, 0, path + folder().size() + 1);
  return real(path);
}

int fdatasync(int fd) { return sync_with(fd, "fdatasync"); }
int fsync(int fd) { return sync_with(fd, "fsync"); }
}
