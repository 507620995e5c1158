// The maker's thread: reserve, fill with zeros, sync.
#include "events/embedded/segment_maker.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

namespace soma::events {

SegmentMaker::SegmentMaker(const FileOps& ops, std::string temp_path, std::uint64_t segment_bytes)
    : ops_(ops), temp_path_(std::move(temp_path)), segment_bytes_(segment_bytes) {
  ::unlink(temp_path_.c_str());  // half-made by a process that died
  thread_ = std::thread([this] { loop(); });
}

SegmentMaker::~SegmentMaker() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
  ::unlink(temp_path_.c_str());
}

void SegmentMaker::prepare() {
  std::lock_guard lock(mutex_);
  if (wanted_ || spare_) return;
  wanted_ = true;
  changed_.notify_all();
}

Result<Fd> SegmentMaker::take() {
  std::unique_lock lock(mutex_);
  wanted_ = hurry_ = true;  // stays so while the disk is full
  const std::uint64_t before = attempts_;
  changed_.notify_all();
  changed_.wait(lock, [&] { return spare_ || attempts_ > before; });
  if (!spare_) return tl::unexpected(error_);
  Fd fd = std::move(*spare_);
  spare_.reset();
  wanted_ = false;  // the next one would take the same name: not before the caller has given this
                    // one its own
  return fd;
}

bool SegmentMaker::has_spare() const {
  std::lock_guard lock(mutex_);
  return spare_.has_value();
}

bool SegmentMaker::stopping() const {
  std::lock_guard lock(mutex_);
  return stopping_;
}

void SegmentMaker::loop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stopping_ || (wanted_ && !spare_); });
    if (stopping_) return;
    hurry_ = false;
    lock.unlock();
    auto made = make();
    lock.lock();
    ++attempts_;
    if (made) {
      spare_ = std::move(*made);
      wanted_ = false;
    } else {
      error_ = made.error();
    }
    changed_.notify_all();
    if (!made)
      changed_.wait_for(lock, std::chrono::seconds(1), [&] { return stopping_ || hurry_; });
  }
}

// Zeros are written rather than only reserved: a later write then changes no metadata, so its
// fdatasync does not wait for the file system's journal. In steps, so that commits' syncs find no
// long queue.
Result<Fd> SegmentMaker::make() {
  constexpr std::size_t kStep = 1 << 20;
  Fd fd(::open(temp_path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (fd.value < 0) return tl::unexpected(io_error("cannot make " + temp_path_, errno));
  int e = ops_.reserve(fd.value, segment_bytes_);
  const std::string zeros(std::min<std::uint64_t>(kStep, segment_bytes_), '\0');
  for (std::uint64_t at = 0; e == 0 && at < segment_bytes_; at += zeros.size()) {
    if (stopping())
      e = EINTR;
    else
      e = ops_.write_at(fd.value, zeros.data(),
                        std::min<std::uint64_t>(zeros.size(), segment_bytes_ - at),
                        static_cast<off_t>(at));
    if (e == 0) e = ops_.sync_data(fd.value);
  }
  if (e == 0) return fd;
  ::unlink(temp_path_.c_str());
  return tl::unexpected(io_error(
      "cannot make a segment of " + std::to_string(segment_bytes_) + " bytes at " + temp_path_, e));
}

}  // namespace soma::events
