// The engine: a queue, one writer thread, an index in memory.
#include "events/embedded/embedded_log.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <thread>

namespace soma::events {

namespace fs = std::filesystem;

namespace {

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

Error io_error(const std::string& what, int error) {
  return {error == ENOSPC || error == EDQUOT ? Code::kStorageFull : Code::kIo,
          what + ": " + std::strerror(error), {}};
}

int sync_folder(const std::string& folder) {
  Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.value < 0) return errno;
  return ::fsync(fd.value) == 0 ? 0 : errno;
}

class EmbeddedLog final : public Log {
 public:
  EmbeddedLog(EmbeddedOptions options, bool read_only) : o_(std::move(options)), read_only_(read_only) {}

  ~EmbeddedLog() override {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    if (writer_.joinable()) writer_.join();
  }

  Status open() {
    if (!read_only_) {
      std::error_code error;
      fs::create_directories(o_.folder, error);
      if (error) return fail(Code::kIo, "cannot make " + o_.folder + ": " + error.message());
      if (auto locked = lock(); !locked) return locked;
    } else if (!fs::is_directory(o_.folder)) {
      return fail(Code::kNotFound, "no log folder " + o_.folder);
    }
    const bool live = read_only_ && lock_holder(o_.folder).has_value();
    std::vector<std::vector<Place>> index;
    auto scan = scan_segments(o_.folder, live, [&](const ScannedRecord& r) {
      if (index.size() <= r.partition.value) index.resize(r.partition.value + 1);
      index[r.partition.value].push_back({r.byte, static_cast<std::uint32_t>(r.segment), r.bytes});
    });
    if (!scan) return tl::unexpected(scan.error());
    if (scan->damage) return fail(Code::kCorrupt, to_string(*scan->damage));
    partitions_ = scan->partition_count ? scan->partition_count : o_.partition_count;
    index.resize(partitions_);
    index_ = std::move(index);
    round_ = scan->last_round;
    if (scan->partition_count == 0) return read_only_ ? Status{} : first_segment();
    return continue_from(*scan);
  }

  void start() {
    writer_ = std::thread([this] { write_loop(); });
  }

  std::uint32_t partition_count() const override { return partitions_; }

  void append(PartitionId partition, std::string record, OnReport on_report) override {
    std::optional<AppendReport> refused;
    {
      std::lock_guard lock(mutex_);
      if (failure_) refused = refusal(*failure_);
      else if (read_only_ || stopping_) refused = refusal({Code::kUnavailable, "the log is closed", {}});
      else if (queued_bytes_ + record.size() > o_.queue_bytes)
        refused = refusal({Code::kOverloaded, "the log's queue is full", {}});
      else if (partition.value >= partitions_ || record.size() + kRecordHeaderBytes > kMaxRoundBytes)
        refused = refusal({Code::kTooLarge, "no such partition, or a record over 8 MiB", {}});
      else {
        queued_bytes_ += record.size();
        queue_.push_back({partition, std::move(record), std::move(on_report)});
      }
    }
    if (refused) on_report(*refused);
    else wake_.notify_one();
  }

  Result<std::vector<Record>> read(PartitionId partition, Offset from, std::size_t max_bytes) const override {
    std::vector<Record> out;
    std::vector<Place> places;
    {
      std::shared_lock lock(index_mutex_);
      const auto& index = index_.at(partition.value);
      std::size_t bytes = 0;
      for (std::uint64_t i = from.value; i < index.size() && (places.empty() || bytes + index[i].bytes <= max_bytes); ++i) {
        places.push_back(index[i]);
        bytes += index[i].bytes;
      }
    }
    out.reserve(places.size());
    std::uint64_t offset = from.value;
    std::string buffer;
    for (const Place& place : places) {
      buffer.resize(kRecordHeaderBytes + place.bytes);
      auto fd = segment_fd(place.segment);
      if (!fd) return tl::unexpected(fd.error());
      const ssize_t n = ::pread(*fd, buffer.data(), buffer.size(), static_cast<off_t>(place.byte));
      RecordHeader h;
      std::string_view record;
      if (n != static_cast<ssize_t>(buffer.size()) || !get_record(buffer, h, record) || h.offset != offset ||
          h.partition != partition.value)
        return fail(Code::kCorrupt, to_string(Damage{(fs::path(o_.folder) / segment_name(place.segment)).string(),
                                                     place.byte, "a stored record does not check"}));
      out.push_back({Offset{offset++}, std::string(record)});
    }
    return out;
  }

  Offset end(PartitionId partition) const override {
    std::shared_lock lock(index_mutex_);
    return Offset{index_.at(partition.value).size()};
  }

  std::uint64_t follow(std::function<void(PartitionId)> on_grow) override {
    std::lock_guard lock(followers_mutex_);
    followers_[++next_follower_] = std::move(on_grow);
    return next_follower_;
  }

  void unfollow(std::uint64_t subscription) override {
    std::lock_guard lock(followers_mutex_);
    followers_.erase(subscription);
  }

  Status health() const override {
    std::lock_guard lock(mutex_);
    if (failure_) return tl::unexpected(*failure_);
    if (full_) return tl::unexpected(*full_);
    return {};
  }

 private:
  struct Place {
    std::uint64_t byte;
    std::uint32_t segment;
    std::uint32_t bytes;
  };
  struct Append {
    PartitionId partition;
    std::string record;
    OnReport on_report;
  };

  static AppendReport refusal(Error error) { return {AppendReport::Kind::kRefused, {}, std::move(error)}; }

  Status lock() {
    const std::string path = o_.folder + "/lock";
    lock_ = Fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (lock_.value < 0) return tl::unexpected(io_error("cannot open " + path, errno));
    if (::flock(lock_.value, LOCK_EX | LOCK_NB) != 0) {
      std::string pid;
      std::ifstream(path) >> pid;
      return fail(Code::kLocked, "the data folder is in use by process " + pid + " (" + path + ")");
    }
    const std::string pid = std::to_string(::getpid()) + "\n";
    if (::ftruncate(lock_.value, 0) != 0 || ::pwrite(lock_.value, pid.data(), pid.size(), 0) < 0)
      return tl::unexpected(io_error("cannot write " + path, errno));
    return {};
  }

  Status open_mark() {
    const std::string path = o_.folder + "/mark";
    mark_ = Fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    return mark_.value < 0 ? Status(tl::unexpected(io_error("cannot open " + path, errno))) : Status{};
  }

  Status first_segment() {
    if (auto opened = open_mark(); !opened) return opened;
    return roll();
  }

  Status continue_from(const ScanResult& scan) {
    segment_ = scan.last_segment;
    tail_ = scan.tail;
    segment_size_ = scan.segment_size;
    if (read_only_) return {};
    if (auto opened = open_mark(); !opened) return opened;
    const std::string path = o_.folder + "/" + segment_name(segment_);
    current_ = Fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (current_.value < 0) return tl::unexpected(io_error("cannot open " + path, errno));
    if (scan.torn) {   // an unacknowledged write: make its bytes zero again before anything follows
      const std::string zeros(segment_size_ - tail_, '\0');
      if (int e = o_.ops.write_at(current_.value, zeros.data(), zeros.size(), static_cast<off_t>(tail_)))
        return tl::unexpected(io_error("cannot cut the torn tail of " + path, e));
    }
    // Rounds that were read may not have been synced by the process that wrote them.
    if (int e = o_.ops.sync_data(current_.value)) return tl::unexpected(io_error("cannot sync " + path, e));
    write_mark();
    return {};
  }

  // Makes the next segment: filled, headed, synced, then named; a half-made one is never seen.
  Status roll() {
    const std::uint64_t number = current_.value < 0 ? segment_ : segment_ + 1;
    const std::string path = o_.folder + "/" + segment_name(number);
    const std::string temp = o_.folder + "/next.tmp";
    Fd fd(::open(temp.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (fd.value < 0) return tl::unexpected(io_error("cannot make " + temp, errno));
    int e = o_.ops.fill_zero(fd.value, o_.segment_bytes);
    const SegmentHeader h = make_segment_header(partitions_, number, round_ + 1, o_.segment_bytes);
    if (e == 0) e = o_.ops.write_at(fd.value, &h, sizeof h, 0);
    if (e == 0) e = o_.ops.sync_data(fd.value);
    if (e != 0) {
      ::unlink(temp.c_str());
      return tl::unexpected(io_error("cannot make segment " + path, e));
    }
    if (::rename(temp.c_str(), path.c_str()) != 0) return tl::unexpected(io_error("cannot name " + path, errno));
    if (int error = sync_folder(o_.folder)) return tl::unexpected(io_error("cannot sync " + o_.folder, error));
    current_ = std::move(fd);
    segment_ = number;
    segment_size_ = o_.segment_bytes;
    tail_ = sizeof h;
    return {};
  }

  void write_mark() {
    const std::string bytes = encode_mark({round_, segment_, tail_});
    // Not synced and not vital: it only sharpens the judgement of a later start.
    if (::pwrite(mark_.value, bytes.data(), bytes.size(), 0) < 0) return;
  }

  void write_loop() {
    std::vector<Append> batch;
    for (;;) {
      batch.clear();
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
        if (queue_.empty()) return;
        std::size_t bytes = sizeof(RoundHeader);
        const std::size_t limit = std::min<std::size_t>(kMaxRoundBytes, o_.segment_bytes - sizeof(SegmentHeader));
        while (!queue_.empty()) {
          const std::size_t size = queue_.front().record.size() + kRecordHeaderBytes;
          if (!batch.empty() && bytes + size > limit) break;
          bytes += size;
          queued_bytes_ -= queue_.front().record.size();
          batch.push_back(std::move(queue_.front()));
          queue_.pop_front();
        }
      }
      commit(batch);
    }
  }

  void commit(std::vector<Append>& batch) {
    std::string bytes(sizeof(RoundHeader), '\0');
    std::vector<std::pair<PartitionId, Place>> places;
    std::map<std::uint32_t, std::uint64_t> next;
    for (const Append& a : batch) {
      auto [it, fresh] = next.try_emplace(a.partition.value, 0);
      if (fresh) it->second = end(a.partition).value;
      places.push_back({a.partition, {bytes.size(), 0, static_cast<std::uint32_t>(a.record.size())}});
      put_record(bytes, a.partition.value, it->second++, a.record);
    }
    if (tail_ + bytes.size() > segment_size_) {
      if (auto rolled = roll(); !rolled) return refuse(batch, rolled.error());
    }
    seal_round(bytes, round_ + 1, static_cast<std::uint32_t>(batch.size()));
    int e = o_.ops.write_at(current_.value, bytes.data(), bytes.size(), static_cast<off_t>(tail_));
    if (e == 0) e = o_.ops.sync_data(current_.value);
    if (e != 0) return die(batch, io_error("log write failed in " + segment_name(segment_), e));
    publish(batch, places, bytes.size());
  }

  void publish(std::vector<Append>& batch, const std::vector<std::pair<PartitionId, Place>>& places,
               std::size_t bytes) {
    std::vector<Offset> offsets;
    {
      std::unique_lock lock(index_mutex_);
      for (const auto& [partition, place] : places) {
        auto& index = index_[partition.value];
        offsets.push_back(Offset{index.size()});
        index.push_back({tail_ + place.byte, static_cast<std::uint32_t>(segment_), place.bytes});
      }
    }
    tail_ += bytes;
    ++round_;
    write_mark();
    {
      std::lock_guard lock(mutex_);
      full_.reset();
    }
    for (std::size_t i = 0; i < batch.size(); ++i)
      batch[i].on_report({AppendReport::Kind::kDurable, offsets[i], {}});
    std::vector<bool> told(partitions_);
    std::lock_guard lock(followers_mutex_);
    for (const Append& a : batch) {
      if (told[a.partition.value]) continue;
      told[a.partition.value] = true;
      for (const auto& [id, on_grow] : followers_) on_grow(a.partition);
    }
  }

  // Nothing was stored. What is queued behind is refused too: it may follow what was refused.
  void refuse(std::vector<Append>& batch, const Error& error) {
    if (error.code != Code::kStorageFull) return die(batch, error);
    {
      std::lock_guard lock(mutex_);
      full_ = error;
      take_queue(batch);
    }
    for (Append& a : batch) a.on_report({AppendReport::Kind::kRefused, {}, error});
  }

  // After a failed write or sync nobody knows what the disk holds: read-only for good.
  void die(std::vector<Append>& batch, const Error& error) {
    {
      std::lock_guard lock(mutex_);
      failure_ = Error{Code::kIo, error.message, {}};
      take_queue(batch);
    }
    for (Append& a : batch) a.on_report({AppendReport::Kind::kUnknown, {}, error});
  }

  void take_queue(std::vector<Append>& batch) {
    for (Append& a : queue_) batch.push_back(std::move(a));
    queue_.clear();
    queued_bytes_ = 0;
  }

  Result<int> segment_fd(std::uint64_t segment) const {
    std::lock_guard lock(fds_mutex_);
    auto it = fds_.find(segment);
    if (it == fds_.end()) {
      const std::string path = o_.folder + "/" + segment_name(segment);
      Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
      if (fd.value < 0) return tl::unexpected(io_error("cannot open " + path, errno));
      it = fds_.emplace(segment, std::move(fd)).first;
    }
    return it->second.value;
  }

  EmbeddedOptions o_;
  const bool read_only_;
  std::uint32_t partitions_ = 0;
  Fd lock_, current_, mark_;
  std::uint64_t segment_ = 0, segment_size_ = 0, tail_ = 0, round_ = 0;   // the writer thread's

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Append> queue_;
  std::size_t queued_bytes_ = 0;
  bool stopping_ = false;
  std::optional<Error> failure_;   // for good
  std::optional<Error> full_;      // until an append goes through

  mutable std::shared_mutex index_mutex_;
  std::vector<std::vector<Place>> index_;
  mutable std::mutex fds_mutex_;
  mutable std::map<std::uint64_t, Fd> fds_;
  std::mutex followers_mutex_;
  std::map<std::uint64_t, std::function<void(PartitionId)>> followers_;
  std::uint64_t next_follower_ = 0;
  std::thread writer_;
};

}  // namespace

Result<std::unique_ptr<Log>> open_embedded_log(EmbeddedOptions options) {
  if (options.partition_count == 0 || options.partition_count > kMaxPartitions)
    return fail(Code::kInvalidArgument, "partition_count must be 1 to 4096", "partition_count");
  if (options.segment_bytes < kMaxRoundBytes / 8)
    return fail(Code::kInvalidArgument, "segment_bytes must be at least 1 MiB", "segment_bytes");
  auto log = std::make_unique<EmbeddedLog>(std::move(options), false);
  if (auto opened = log->open(); !opened) return tl::unexpected(opened.error());
  log->start();
  return log;
}

Result<std::unique_ptr<Log>> open_embedded_log_readonly(const std::string& folder) {
  EmbeddedOptions options;
  options.folder = folder;
  auto log = std::make_unique<EmbeddedLog>(std::move(options), true);
  if (auto opened = log->open(); !opened) return tl::unexpected(opened.error());
  return log;
}

std::optional<int> lock_holder(const std::string& folder) {
  const std::string path = folder + "/lock";
  Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (fd.value < 0 || ::flock(fd.value, LOCK_EX | LOCK_NB) == 0) return {};
  int pid = 0;
  std::ifstream(path) >> pid;
  return pid;
}

Result<ScanResult> verify_segments(const std::string& folder) {
  return scan_segments(folder, lock_holder(folder).has_value(), [](const ScannedRecord&) {});
}

}  // namespace soma::events
