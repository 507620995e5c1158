// The system calls that write, replaceable so that tests can fail or record each of them.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <cstddef>
#include <functional>
#include <string>
#include <utility>

#include "schemas/base/errors.h"

namespace soma::events {

// Each returns 0 or an errno.
struct FileOps {
  std::function<int(int fd, const void* data, std::size_t size, off_t at)> write_at;
  std::function<int(int fd)> sync_data;
  std::function<int(int fd, std::size_t size)> reserve;  // space for `size` bytes, reading as zeros
  std::function<int(const std::string& from, const std::string& to)> rename;
  std::function<int(const std::string& folder)> sync_folder;
  static FileOps real();
};

// Owns a descriptor.
struct Fd {
  int value = -1;
  Fd() = default;
  explicit Fd(int fd) : value(fd) {}
  Fd(Fd&& o) noexcept : value(std::exchange(o.value, -1)) {}
  Fd& operator=(Fd&& o) noexcept {
    std::swap(value, o.value);
    return *this;
  }
  ~Fd() {
    if (value >= 0) ::close(value);
  }
};

// "WHAT: reason"; kStorageFull for ENOSPC and EDQUOT, else kIo.
Error io_error(const std::string& what, int error);

// Reads exactly `size` bytes, or says why not (EIO at the end of the file).
int read_at(int fd, char* data, std::size_t size, off_t at);

// Makes a folder and its parents so that they survive a power cut.
Status make_folder(const FileOps& ops, const std::string& folder);

}  // namespace soma::events
