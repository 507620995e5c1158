// The engine: a queue, one writer thread, an index in memory.
#include "events/embedded/embedded_log.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <map>
#include <mutex>
#include <random>
#include <shared_mutex>
#include <thread>

#include "events/embedded/caretaker.h"
#include "events/embedded/sealed_index.h"
#include "events/embedded/segment_maker.h"
#include "schemas/base/thread_name.h"

namespace soma::events {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kMaxOpenSegments = 64;  // descriptors kept for reading

class EmbeddedLog final : public Log {
 public:
  EmbeddedLog(EmbeddedOptions options, bool read_only)
      : o_(std::move(options)), read_only_(read_only) {}

  ~EmbeddedLog() override {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    if (!writer_.joinable()) return;
    writer_.join();
    caretaker_.reset();
    if (failure_) return;
    write_mark(true);
    o_.ops.sync_data(
        mark_.value);  // failing, the next start only judges the tail with less knowledge
  }

  Status open() {
    if (!read_only_) {
      if (auto made = make_folder(o_.ops, o_.folder); !made) return made;
      if (auto locked = lock_.take(o_.folder); !locked) return locked;
    } else if (!fs::is_directory(o_.folder)) {
      return fail(Code::kNotFound, "no log folder " + o_.folder);
    }
    const bool live = read_only_ && lock_holder(o_.folder).has_value();
    std::vector<std::vector<Place>> index;
    const auto on_record = [&](const ScannedRecord& r) {
      if (index.size() <= r.partition.value) index.resize(r.partition.value + 1);
      index[r.partition.value].push_back({r.byte, static_cast<std::uint32_t>(r.segment), r.bytes});
    };
    LogState known;
    if (!read_only_) known = take_indexes(on_record);
    auto scan = scan_segments(o_.folder, live, on_record, unread_, known);
    if (!scan) return tl::unexpected(scan.error());
    if (scan->damage) return fail(Code::kCorrupt, to_string(*scan->damage));
    partitions_ = scan->partition_count ? scan->partition_count : o_.partition_count;
    index.resize(partitions_);
    index_ = std::move(index);
    round_ = scan->last_round;
    salt_ = scan->partition_count ? scan->salt : std::random_device()();
    if (read_only_) return {};
    maker_ = std::make_unique<SegmentMaker>(o_.ops, o_.folder + "/next.tmp", o_.segment_bytes);
    if (scan->partition_count != 0)
      if (auto continued = continue_from(*scan); !continued) return continued;
    if (auto marked = open_mark(); !marked) return marked;
    if (scan->partition_count == 0)
      if (auto rolled = roll(); !rolled) return rolled;
    before_unread_ = std::move(known);
    return {};
  }

  void start() {
    caretaker_ =
        std::make_unique<Caretaker>(o_.folder, unread_, std::move(before_unread_),
                                    [this](Error error) { found_damage(std::move(error)); });
    caretaker_->full_below(segment_);
    writer_ = std::thread([this] { write_loop(); });
  }

  std::uint32_t partition_count() const override { return partitions_; }

  void append(PartitionId partition, std::string record, OnReport on_report) override {
    std::optional<AppendReport> refused;
    {
      std::lock_guard lock(mutex_);
      if (failure_)
        refused = refusal(*failure_);
      else if (read_only_ || stopping_)
        refused = refusal({Code::kUnavailable, "the log is closed", {}});
      else if (queued_bytes_ + record.size() > o_.queue_bytes)
        refused = refusal({Code::kOverloaded, "the log's queue is full", {}});
      else if (partition.value >= partitions_)
        refused = refusal(
            {Code::kInvalidArgument, "no partition " + std::to_string(partition.value), {}});
      else if (record.size() + kRecordHeaderBytes > payload_limit())
        refused = refusal(
            {Code::kTooLarge, "a record of " + std::to_string(record.size()) + " bytes", {}});
      else {
        queued_bytes_ += record.size();
        queue_.push_back({partition, std::move(record), std::move(on_report)});
      }
    }
    if (refused)
      on_report(*refused);
    else
      wake_.notify_one();
  }

  Result<std::vector<Record>> read(PartitionId partition, Offset from,
                                   std::size_t max_bytes) const override {
    std::vector<Record> out;
    std::vector<Place> places;
    if (partition.value >= partitions_)
      return fail(Code::kInvalidArgument, "no partition " + std::to_string(partition.value));
    {
      std::shared_lock lock(index_mutex_);
      const auto& index = index_[partition.value];
      std::size_t bytes = 0;
      for (std::uint64_t i = from.value;
           i < index.size() && (places.empty() || bytes + index[i].bytes <= max_bytes); ++i) {
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
      const int e =
          read_at((*fd)->value, buffer.data(), buffer.size(), static_cast<off_t>(place.byte));
      if (e != 0)
        return tl::unexpected(io_error(
            "cannot read " + segment_path(place.segment) + " at byte " + std::to_string(place.byte),
            e));
      RecordHeader h;
      std::string_view record;
      if (!get_record(buffer, h, record) || h.offset != offset || h.partition != partition.value)
        return fail(Code::kCorrupt, to_string(Damage{segment_path(place.segment), place.byte,
                                                     "a stored record does not check"}));
      out.push_back({Offset{offset++}, std::string(record)});
    }
    return out;
  }

  Offset end(PartitionId partition) const override {
    if (partition.value >= partitions_) return Offset{0};
    std::shared_lock lock(index_mutex_);
    return Offset{index_[partition.value].size()};
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
    if (full_ && !maker_->has_spare()) return tl::unexpected(*full_);
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

  static AppendReport refusal(Error error) {
    return {AppendReport::Kind::kRefused, {}, std::move(error)};
  }

  std::string segment_path(std::uint64_t segment) const {
    return o_.folder + "/" + segment_name(segment);
  }

  // What a round's records may take, so that every round fits a fresh segment.
  std::size_t payload_limit() const {
    return std::min<std::size_t>(kMaxRoundBytes,
                                 o_.segment_bytes - sizeof(SegmentHeader) - sizeof(RoundHeader));
  }

  // Records of old segments, by their indexes, as far as these go without a gap: the state behind
  // them.
  LogState take_indexes(const std::function<void(const ScannedRecord&)>& on_record) {
    LogState state;
    for (const std::uint64_t old = old_segments(); unread_ < old; ++unread_) {
      const auto index = read_sealed_index(o_.folder, unread_);
      if (!index || index->before.last_round != state.last_round ||
          (unread_ > 0 && index->before.offsets != state.offsets))
        break;
      for (const auto& r : index->records) on_record(r);
      state = index->after();
    }
    return state;
  }

  // How many segments lie before the newest read_at_open_bytes.
  std::uint64_t old_segments() const {
    std::vector<std::uint64_t> sizes;
    for (std::error_code error;;) {
      const auto size = fs::file_size(segment_path(sizes.size()), error);
      if (error) break;
      sizes.push_back(size);
    }
    if (sizes.empty()) return 0;
    std::uint64_t old = sizes.size() - 1, read = sizes.back();
    while (old > 0 && read < o_.read_at_open_bytes) read += sizes[--old];
    return old;
  }

  // No append is taken any more; those that were are written as ever.
  void found_damage(Error error) {
    std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::move(error);
  }

  Status open_mark() {
    const std::string path = o_.folder + "/mark";
    mark_ = Fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (mark_.value < 0) return tl::unexpected(io_error("cannot open " + path, errno));
    // On the disk before the first append: "closed cleanly" must not outlive this moment.
    int e = write_mark(false);
    if (e == 0) e = o_.ops.sync_data(mark_.value);
    if (e == 0) e = o_.ops.sync_folder(o_.folder);
    return e == 0 ? Status{} : Status(tl::unexpected(io_error("cannot write " + path, e)));
  }

  Status continue_from(const ScanResult& scan) {
    segment_ = scan.last_segment;
    tail_ = scan.tail;
    segment_size_ = scan.segment_size;
    const std::string path = segment_path(segment_);
    current_ = Fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (current_.value < 0) return tl::unexpected(io_error("cannot open " + path, errno));
    int e = 0;
    if (scan.torn) {  // an unacknowledged write: make its bytes zero again before anything follows
      const std::string zeros(scan.torn_end - tail_, '\0');
      e = o_.ops.write_at(current_.value, zeros.data(), zeros.size(), static_cast<off_t>(tail_));
    }
    // Rounds behind the mark may stand in the page cache alone, as pages that a failed sync has
    // marked clean: written again, they are synced in truth.
    const std::uint64_t known = scan.mark.segment == segment_ && scan.mark.round > 0
                                    ? scan.mark.end
                                    : sizeof(SegmentHeader);
    if (e == 0 && scan.mark.round < scan.last_round && known < tail_) {
      std::string bytes(tail_ - known, '\0');
      e = read_at(current_.value, bytes.data(), bytes.size(), static_cast<off_t>(known));
      if (e == 0)
        e = o_.ops.write_at(current_.value, bytes.data(), bytes.size(), static_cast<off_t>(known));
    }
    if (e == 0) e = o_.ops.sync_data(current_.value);
    return e == 0 ? Status{} : Status(tl::unexpected(io_error("cannot continue " + path, e)));
  }

  // Gives the spare file its header and its name; a half-made segment is never seen.
  Status roll() {
    const std::uint64_t number = current_.value < 0 ? segment_ : segment_ + 1;
    const std::string path = segment_path(number);
    auto fd = maker_->take();
    if (!fd) return tl::unexpected(fd.error());
    const SegmentHeader h =
        make_segment_header(partitions_, number, round_ + 1, o_.segment_bytes, salt_);
    int e = o_.ops.write_at(fd->value, &h, sizeof h, 0);
    if (e == 0) e = o_.ops.sync_data(fd->value);
    if (e == 0) e = o_.ops.rename(maker_->temp_path(), path);
    if (e == 0) e = o_.ops.sync_folder(o_.folder);
    if (e != 0) return fail(Code::kIo, io_error("cannot make segment " + path, e).message);
    current_ = std::move(*fd);
    segment_ = number;
    segment_size_ = o_.segment_bytes;
    tail_ = sizeof h;
    if (caretaker_) caretaker_->full_below(number);
    return {};
  }

  // Not synced in each round and not vital: it only sharpens the judgement of a later start.
  int write_mark(bool clean) {
    const std::string bytes = encode_mark({round_, segment_, tail_, clean});
    return o_.ops.write_at(mark_.value, bytes.data(), bytes.size(), 0);
  }

  void write_loop() {
    name_thread("soma-log");
    std::vector<Append> batch;
    for (;;) {
      batch.clear();
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
        if (queue_.empty()) return;
        std::size_t bytes = 0;
        while (!queue_.empty()) {
          const std::size_t size = queue_.front().record.size() + kRecordHeaderBytes;
          if (!batch.empty() && bytes + size > payload_limit()) break;
          bytes += size;
          queued_bytes_ -= queue_.front().record.size();
          batch.push_back(std::move(queue_.front()));
          queue_.pop_front();
        }
      }
      commit(batch);
    }
  }

  // The error that stands while the disk is full; also for what would still fit: one answer for
  // all.
  std::optional<Error> full() const {
    std::lock_guard lock(mutex_);
    return full_ && !maker_->has_spare() ? full_ : std::nullopt;
  }

  void commit(std::vector<Append>& batch) {
    if (auto error = full())
      return refuse(batch, *error);  // here, so that reports keep their order
    std::string bytes(sizeof(RoundHeader), '\0');
    std::vector<std::pair<PartitionId, Place>> places;
    std::map<std::uint32_t, std::uint64_t> next;
    for (const Append& a : batch) {
      auto [it, fresh] = next.try_emplace(a.partition.value, 0);
      if (fresh) it->second = end(a.partition).value;
      places.push_back(
          {a.partition, {bytes.size(), 0, static_cast<std::uint32_t>(a.record.size())}});
      put_record(bytes, a.partition.value, it->second++, a.record);
    }
    if (tail_ + bytes.size() > segment_size_) {
      if (auto rolled = roll(); !rolled) return refuse(batch, rolled.error());
    }
    seal_round(bytes, round_ + 1, static_cast<std::uint32_t>(batch.size()), salt_);
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
    write_mark(false);
    if (tail_ > segment_size_ / 2) maker_->prepare();
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
    for (Append& a : batch) a.on_report({AppendReport::Kind::kUnknown, {}, *failure_});
  }

  void take_queue(std::vector<Append>& batch) {
    for (Append& a : queue_) batch.push_back(std::move(a));
    queue_.clear();
    queued_bytes_ = 0;
  }

  // Shared, so that one reader may drop it from the cache while another reads.
  Result<std::shared_ptr<Fd>> segment_fd(std::uint64_t segment) const {
    std::lock_guard lock(fds_mutex_);
    if (auto it = fds_.find(segment); it != fds_.end()) return it->second;
    auto fd = std::make_shared<Fd>(::open(segment_path(segment).c_str(), O_RDONLY | O_CLOEXEC));
    if (fd->value < 0)
      return tl::unexpected(io_error("cannot open " + segment_path(segment), errno));
    if (fds_.size() >= kMaxOpenSegments) fds_.erase(fds_.begin());
    fds_.emplace(segment, fd);
    return fd;
  }

  EmbeddedOptions o_;
  const bool read_only_;
  std::uint32_t partitions_ = 0;
  FolderLock lock_;
  std::unique_ptr<SegmentMaker> maker_;
  Fd current_, mark_;
  std::uint32_t salt_ = 0;
  std::uint64_t segment_ = 0, segment_size_ = 0, tail_ = 0, round_ = 0;  // the writer thread's

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Append> queue_;
  std::size_t queued_bytes_ = 0;
  bool stopping_ = false;
  std::optional<Error> failure_;  // for good
  std::optional<Error> full_;     // until an append goes through

  mutable std::shared_mutex index_mutex_;
  std::vector<std::vector<Place>> index_;
  mutable std::mutex fds_mutex_;
  mutable std::map<std::uint64_t, std::shared_ptr<Fd>> fds_;
  std::mutex followers_mutex_;
  std::map<std::uint64_t, std::function<void(PartitionId)>> followers_;
  std::uint64_t next_follower_ = 0;
  std::thread writer_;

  std::uint64_t unread_ = 0;  // segments below it were taken by their index
  LogState before_unread_;
  std::unique_ptr<Caretaker> caretaker_;
};

}  // namespace

Result<std::unique_ptr<Log>> open_embedded_log(EmbeddedOptions options) {
  if (options.partition_count == 0 || options.partition_count > kMaxPartitions)
    return fail(Code::kInvalidArgument, "partition_count must be 1 to 4096", "partition_count");
  if (options.segment_bytes < kMinSegmentBytes || options.segment_bytes > kMaxSegmentBytes)
    return fail(Code::kInvalidArgument, "segment_bytes must be 64 KiB to 1 GiB", "segment_bytes");
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

Result<ScanResult> verify_segments(const std::string& folder) {
  if (!fs::is_directory(folder)) return fail(Code::kNotFound, "no log folder " + folder);
  return scan_segments(folder, lock_holder(folder).has_value(), [](const ScannedRecord&) {});
}

}  // namespace soma::events
