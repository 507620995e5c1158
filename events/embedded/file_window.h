// A file read forwards, a part at a time: memory for what is looked at, not for the file.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <string>
#include <string_view>

#include "events/embedded/file_ops.h"

namespace soma::events {

// Read, not mapped: a bad sector is then an error, not a signal.
class FileWindow {
 public:
  static constexpr std::uint64_t kStep = 1 << 20;  // bytes read at once, at least

  explicit FileWindow(std::string path)
      : path_(std::move(path)), fd_(::open(path_.c_str(), O_RDONLY | O_CLOEXEC)) {}

  // Before anything else. kIo: the file is not there, or may not be read.
  Status open() {
    struct stat st {};
    if (fd_.value < 0 || ::fstat(fd_.value, &st) != 0)
      return tl::unexpected(io_error("cannot open " + path_, errno));
    size_ = static_cast<std::uint64_t>(st.st_size);
    return {};
  }
  std::uint64_t size() const { return size_; }

  // Up to `bytes` from `at` on, fewer at the file's end, valid until the next call. `at` may not go
  // back.
  Result<std::string_view> from(std::uint64_t at, std::uint64_t bytes) {
    at = std::min(at, size_);
    bytes = std::min(bytes, size_ - at);
    if (at + bytes > begin_ + held_.size()) {
      held_.erase(0, std::min<std::uint64_t>(at - begin_, held_.size()));
      begin_ = at;
      const std::uint64_t kept = held_.size();
      held_.resize(std::min(std::max(bytes, kStep), size_ - at));
      if (int e = read_at(fd_.value, held_.data() + kept, held_.size() - kept,
                          static_cast<off_t>(at + kept)))
        return tl::unexpected(
            io_error("cannot read " + path_ + " from byte " + std::to_string(at + kept), e));
    }
    return std::string_view(held_).substr(at - begin_, bytes);
  }

 private:
  const std::string path_;
  Fd fd_;
  std::uint64_t size_ = 0, begin_ = 0;
  std::string held_;  // of the file, from begin_ on
};

}  // namespace soma::events
