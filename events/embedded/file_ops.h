// The system calls of the engine, replaceable so that tests can fail or record each of them.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

namespace soma::events {

// Each returns 0 or an errno. Defaults do the real thing.
struct FileOps {
  std::function<int(int fd, const void* data, std::size_t size, off_t at)> write_at;
  std::function<int(int fd)> sync_data;
  std::function<int(int fd, std::size_t size)> fill_zero;   // allocates and syncs `size` bytes of zeros
  static FileOps real();
};

}  // namespace soma::events
