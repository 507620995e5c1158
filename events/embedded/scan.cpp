// The scan, and how it tells damage from a torn tail.
#include "events/embedded/scan.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>

namespace soma::events {

namespace fs = std::filesystem;

std::string to_string(const Damage& d) {
  return d.file + " at byte " + std::to_string(d.byte) + ": " + d.reason;
}

namespace {

constexpr std::size_t kMarkBytes = 28;

// A whole file, mapped read-only for the time of a scan.
class Mapping {
 public:
  explicit Mapping(const fs::path& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat st{};
    if (fd >= 0 && ::fstat(fd, &st) == 0 && st.st_size > 0) {
      size_ = static_cast<std::size_t>(st.st_size);
      void* p = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, fd, 0);
      data_ = p == MAP_FAILED ? nullptr : static_cast<const char*>(p);
    }
    if (fd >= 0) ::close(fd);
  }
  ~Mapping() {
    if (data_) ::munmap(const_cast<char*>(data_), size_);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  std::string_view bytes() const { return data_ ? std::string_view(data_, size_) : std::string_view(); }

 private:
  const char* data_ = nullptr;
  std::size_t size_ = 0;
};

std::vector<fs::path> segment_files(const std::string& folder) {
  std::vector<fs::path> files;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored))
    if (entry.path().extension() == ".seg") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

bool read_round(std::string_view bytes, std::uint64_t at, RoundHeader& h) {
  if (at + sizeof h > bytes.size()) return false;
  std::memcpy(&h, bytes.data() + at, sizeof h);
  return h.magic == kRoundMagic && h.crc == header_crc(h) && h.payload_bytes <= bytes.size() - at - sizeof h;
}

bool round_is_whole(std::string_view bytes, std::uint64_t at, RoundHeader& h) {
  return read_round(bytes, at, h) && crc32c(bytes.substr(at + sizeof h, h.payload_bytes)) == h.payload_crc;
}

// The first byte from `at` on that is not zero.
std::uint64_t first_nonzero(std::string_view bytes, std::uint64_t at) {
  const auto found = bytes.find_first_not_of('\0', at);
  return found == std::string_view::npos ? bytes.size() : found;
}

// Is there a whole round of a higher number anywhere behind `at`?
bool later_round_exists(std::string_view bytes, std::uint64_t at, std::uint64_t round) {
  const std::string_view magic("SRND", 4);
  for (auto p = bytes.find(magic, at + 1); p != std::string_view::npos; p = bytes.find(magic, p + 1)) {
    RoundHeader h;
    if (round_is_whole(bytes, p, h) && h.round > round) return true;
  }
  return false;
}

class Scan {
 public:
  Scan(const std::string& folder, bool live, const std::function<void(const ScannedRecord&)>& on_record)
      : folder_(folder), live_(live), on_record_(on_record) {}

  Result<ScanResult> run() {
    auto mark = read_mark(folder_);
    if (!mark) return tl::unexpected(mark.error());
    mark_ = *mark;
    const auto files = segment_files(folder_);
    for (std::size_t i = 0; i < files.size() && !result_.damage; ++i)
      segment(files[i], i, i + 1 == files.size());
    if (!result_.damage && !live_ && result_.last_round < mark_.round)
      damage(fs::path(folder_) / segment_name(mark_.segment), mark_.end, "synced rounds are missing");
    return result_;
  }

 private:
  void damage(const fs::path& file, std::uint64_t byte, std::string reason) {
    if (!result_.damage) result_.damage = Damage{file.string(), byte, std::move(reason)};
  }

  void segment(const fs::path& file, std::uint64_t number, bool last) {
    const Mapping mapping(file);
    const std::string_view bytes = mapping.bytes();
    SegmentHeader h{};
    if (bytes.size() < sizeof h) return damage(file, bytes.size(), "segment is shorter than its header");
    std::memcpy(&h, bytes.data(), sizeof h);
    if (h.crc != header_crc(h) || std::memcmp(h.magic, kSegmentMagic, sizeof h.magic) != 0)
      return damage(file, 0, "segment header does not check");
    if (file.filename() != segment_name(number) || h.segment != number)
      return damage(file, 0, "expected segment " + segment_name(number) + "; one before it is missing");
    if (h.size != bytes.size()) return damage(file, bytes.size(), "segment has not the size its header states");
    if (h.first_round != result_.last_round + 1)
      return damage(file, 0, "rounds are missing before this segment");
    if (result_.partition_count == 0) result_.partition_count = h.partition_count;
    if (h.partition_count != result_.partition_count || h.partition_count == 0 || h.partition_count > kMaxPartitions)
      return damage(file, 0, "partition count differs from the first segment's");
    offsets_.resize(h.partition_count, 0);
    result_.last_segment = number;
    result_.segment_size = h.size;
    rounds(file, bytes, number, last);
  }

  void rounds(const fs::path& file, std::string_view bytes, std::uint64_t number, bool last) {
    std::uint64_t at = sizeof(SegmentHeader);
    RoundHeader h;
    while (round_is_whole(bytes, at, h) && h.round == result_.last_round + 1) {
      if (!records(file, bytes.substr(at + sizeof h, h.payload_bytes), number, at + sizeof h, h.records)) return;
      result_.last_round = h.round;
      at += sizeof h + h.payload_bytes;
    }
    result_.tail = at;
    const std::uint64_t rest = first_nonzero(bytes, at);
    if (rest == bytes.size()) return;
    if (!last) return damage(file, rest, "a round does not check, and a later segment exists");
    if (mark_.segment == number && at < mark_.end && !live_)
      return damage(file, at, "a synced round does not check");
    if (later_round_exists(bytes, at, result_.last_round + 1) && !live_)
      return damage(file, at, "a round does not check, and a later one stands behind it");
    if (rest >= at + sizeof(std::uint32_t) && !live_)
      return damage(file, rest, "bytes that no write of the engine put there");
    result_.torn = true;
  }

  bool records(const fs::path& file, std::string_view payload, std::uint64_t segment, std::uint64_t base,
               std::uint32_t count) {
    std::size_t at = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
      RecordHeader h;
      std::string_view record;
      if (!get_record(payload.substr(at), h, record) || h.partition >= offsets_.size() ||
          h.offset != offsets_[h.partition])
        return damage(file, base + at, "a record does not check inside a round that does"), false;
      ++offsets_[h.partition];
      on_record_({PartitionId{h.partition}, Offset{h.offset}, segment, base + at, h.bytes});
      at += kRecordHeaderBytes + h.bytes;
    }
    if (at != payload.size()) return damage(file, base + at, "a round holds more bytes than records"), false;
    return true;
  }

  const std::string folder_;
  const bool live_;
  const std::function<void(const ScannedRecord&)>& on_record_;
  Mark mark_;
  ScanResult result_;
  std::vector<std::uint64_t> offsets_;
};

}  // namespace

std::string encode_mark(const Mark& mark) {
  std::string out(kMarkBytes, '\0');
  std::memcpy(out.data(), &mark.round, 8);
  std::memcpy(out.data() + 8, &mark.segment, 8);
  std::memcpy(out.data() + 16, &mark.end, 8);
  const std::uint32_t crc = crc32c(std::string_view(out).substr(0, 24));
  std::memcpy(out.data() + 24, &crc, 4);
  return out;
}

Result<Mark> read_mark(const std::string& folder) {
  const fs::path path = fs::path(folder) / "mark";
  std::ifstream in(path, std::ios::binary);
  if (!in) return Mark{};
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  if (bytes.empty()) return Mark{};
  Mark mark;
  std::uint32_t crc = 0;
  if (bytes.size() == kMarkBytes) std::memcpy(&crc, bytes.data() + 24, 4);
  if (bytes.size() != kMarkBytes || crc != crc32c(std::string_view(bytes).substr(0, 24)))
    return fail(Code::kCorrupt, path.string() + " at byte 0: the mark of synced bytes does not check");
  std::memcpy(&mark.round, bytes.data(), 8);
  std::memcpy(&mark.segment, bytes.data() + 8, 8);
  std::memcpy(&mark.end, bytes.data() + 16, 8);
  return mark;
}

Result<ScanResult> scan_segments(const std::string& folder, bool live,
                                 const std::function<void(const ScannedRecord&)>& on_record) {
  return Scan(folder, live, on_record).run();
}

}  // namespace soma::events
