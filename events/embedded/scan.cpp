// The scan, and how it tells damage from a torn tail.
#include "events/embedded/scan.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <vector>

#include "events/embedded/file_ops.h"
#include "events/embedded/file_window.h"

namespace soma::events {

namespace fs = std::filesystem;

std::string to_string(const Damage& d) {
  return d.file + " at byte " + std::to_string(d.byte) + ": " + d.reason;
}

namespace {

constexpr std::uint64_t kSector = 512;  // the least that a disk writes whole
constexpr std::size_t kLeastTorn = 8;   // non-zero bytes; fewer are rot, not the rest of a write,
constexpr std::size_t kShortEnd = 16;   // unless all stand in so many that begin one sector

// Read, not mapped: a bad sector is then an error, not a signal.
Status read_file(const fs::path& path, std::string& bytes, const std::atomic<bool>* stop = {}) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat st {};
  if (fd.value < 0 || ::fstat(fd.value, &st) != 0)
    return tl::unexpected(io_error("cannot open " + path.string(), errno));
  if (static_cast<std::uint64_t>(st.st_size) > kMaxSegmentBytes)
    return fail(Code::kCorrupt, path.string() + " at byte 0: larger than any segment");
  bytes.resize(static_cast<std::size_t>(st.st_size));
  constexpr std::size_t kStep = 1 << 20;
  for (std::size_t at = 0; at < bytes.size(); at += kStep) {
    if (stop && *stop) return fail(Code::kCancelled, "told to stop");
    if (int e = read_at(fd.value, bytes.data() + at, std::min(kStep, bytes.size() - at),
                        static_cast<off_t>(at)))
      return tl::unexpected(
          io_error("cannot read " + path.string() + " from byte " + std::to_string(at), e));
  }
  return {};
}

Result<std::vector<fs::path>> segment_files(const std::string& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    if (it->path().extension() == ".seg") files.push_back(it->path());
  if (error) return fail(Code::kIo, "cannot list " + folder + ": " + error.message());
  std::sort(files.begin(), files.end());
  return files;
}

// The first byte from `at` on that is not zero; the size if there is none.
std::uint64_t first_nonzero(std::string_view bytes, std::uint64_t at) {
  static constexpr char kZeros[4096] = {};
  while (at + sizeof kZeros <= bytes.size() &&
         std::memcmp(bytes.data() + at, kZeros, sizeof kZeros) == 0)
    at += sizeof kZeros;
  while (at < bytes.size() && bytes[at] == '\0') ++at;
  return at;
}

std::uint64_t after_last_nonzero(std::string_view bytes) {
  const auto found = bytes.find_last_not_of('\0');
  return found == std::string_view::npos ? 0 : found + 1;
}

class Scan {
 public:
  Scan(bool live, const Mark& mark, LogState before,
       const std::function<void(const ScannedRecord&)>& on_record)
      : live_(live), on_record_(on_record) {
    static_cast<LogState&>(result_) = std::move(before);
    result_.mark = mark;
  }

  Result<ScanResult> folder(const std::string& folder, std::uint64_t first) {
    const auto files = segment_files(folder);
    if (!files) return tl::unexpected(files.error());
    std::string bytes;
    for (std::size_t i = first; i < files->size() && !result_.damage; ++i) {
      const fs::path& file = (*files)[i];
      if (file.filename() != segment_name(i)) {
        result_.damage =
            Damage{file.string(), 0, "expected " + segment_name(i) + "; it is missing"};
        break;
      }
      if (auto read = read_file(file, bytes); !read) return tl::unexpected(read.error());
      segment(file, bytes, i, i + 1 == files->size());
    }
    const Mark& mark = result_.mark;
    if (!result_.damage && result_.last_round < mark.round)
      result_.damage = Damage{(fs::path(folder) / segment_name(mark.segment)).string(), 0,
                              "the segment with the last synced round is missing"};
    return result_;
  }

  Result<ScanResult> full_segment(const std::string& folder, std::uint64_t number,
                                  const std::atomic<bool>& stop) {
    const fs::path file = fs::path(folder) / segment_name(number);
    stop_ = &stop;
    const ScanResult before = result_;
    const auto is_sound = sound(file, number);
    if (!is_sound) return tl::unexpected(is_sound.error());
    if (stop) return fail(Code::kCancelled, "told to stop");
    if (*is_sound) return result_;
    result_ = before;  // where the damage is, all bytes together tell
    std::string bytes;
    if (auto read = read_file(file, bytes, stop_); !read) return tl::unexpected(read.error());
    segment(file, bytes, number, false);
    if (stop) return fail(Code::kCancelled, "told to stop");
    if (!result_.damage) return fail(Code::kIo, file.string() + " was read twice and differs");
    return result_;
  }

  const std::optional<Damage>& bytes(std::string_view bytes) {
    segment("bytes", bytes, 0, true);
    return result_.damage;
  }

 private:
  void damage(std::uint64_t byte, std::string reason) {
    if (!result_.damage) result_.damage = Damage{file_, byte, std::move(reason)};
  }

  // A full segment, each round read, checked and let go. False: it is damaged, or it was told to
  // stop.
  Result<bool> sound(const fs::path& path, std::uint64_t number) {
    FileWindow file(path.string());
    if (auto opened = file.open(); !opened) return tl::unexpected(opened.error());
    file_ = path.string();
    const auto first = file.from(0, sizeof(SegmentHeader));
    if (!first) return tl::unexpected(first.error());
    header(*first, file.size(), number);
    std::uint64_t at = sizeof(SegmentHeader);
    for (RoundHeader h; !result_.damage && !*stop_; at += sizeof h + h.payload_bytes) {
      const auto head = file.from(at, sizeof h);
      if (!head) return tl::unexpected(head.error());
      if (!read_header(*head, 0, h, file.size() - at)) break;
      const auto round = file.from(at, sizeof h + h.payload_bytes);
      if (!round) return tl::unexpected(round.error());
      if (!is_whole(*round, 0, h) || h.round != result_.last_round + 1) break;
      records(round->substr(sizeof h), number, at + sizeof h, h.records);
      result_.last_round = h.round;
    }
    result_.tail = at;
    while (!result_.damage && !*stop_ && at < file.size()) {
      const auto rest = file.from(at, FileWindow::kStep);
      if (!rest) return tl::unexpected(rest.error());
      if (first_nonzero(*rest, 0) != rest->size()) return false;
      at += rest->size();
    }
    return !result_.damage && !*stop_;
  }

  void segment(const fs::path& file, std::string_view bytes, std::uint64_t number, bool last) {
    file_ = file.string();
    header(bytes, bytes.size(), number);
    if (!result_.damage) rounds(bytes, number);
    if (!result_.damage) judge_rest(bytes, number, last);
  }

  // `bytes`: the first of a segment, `size` all of them.
  void header(std::string_view bytes, std::uint64_t size, std::uint64_t number) {
    SegmentHeader h{};
    if (bytes.size() < sizeof h) return damage(bytes.size(), "segment is shorter than its header");
    std::memcpy(&h, bytes.data(), sizeof h);
    if (h.crc != header_crc(h) || std::memcmp(h.magic, kSegmentMagic, sizeof h.magic) != 0)
      return damage(0, "segment header does not check");
    if (h.version != kSegmentVersion)
      return damage(8,
                    "segment format " + std::to_string(h.version) + " is not known to this build");
    if (h.segment != number) return damage(0, "this is segment " + std::to_string(h.segment));
    if (h.size != size) return damage(size, "segment has not the size its header states");
    if (h.first_round != result_.last_round + 1)
      return damage(0, "rounds are missing before this segment");
    if (number == 0) result_.partition_count = h.partition_count, result_.salt = h.salt;
    if (h.partition_count != result_.partition_count || h.partition_count == 0 ||
        h.partition_count > kMaxPartitions || h.salt != result_.salt)
      return damage(0, "partition count or salt differs from the first segment's");
    result_.offsets.resize(h.partition_count, 0);
    result_.last_segment = number;
    result_.segment_size = h.size;
  }

  // `room`: bytes of the segment from `at` on.
  bool read_header(std::string_view bytes, std::uint64_t at, RoundHeader& h,
                   std::uint64_t room) const {
    if (at + sizeof h > bytes.size() || sizeof h > room) return false;
    std::memcpy(&h, bytes.data() + at, sizeof h);
    return h.magic == kRoundMagic && h.crc == header_crc(h, result_.salt) &&
           h.payload_bytes <= room - sizeof h;
  }
  bool read_header(std::string_view bytes, std::uint64_t at, RoundHeader& h) const {
    return read_header(bytes, at, h, bytes.size() - std::min<std::uint64_t>(at, bytes.size()));
  }

  bool is_whole(std::string_view bytes, std::uint64_t at, RoundHeader& h) const {
    return read_header(bytes, at, h) &&
           crc32c(bytes.substr(at + sizeof h, h.payload_bytes)) == h.payload_crc;
  }

  void rounds(std::string_view bytes, std::uint64_t number) {
    std::uint64_t at = sizeof(SegmentHeader);
    RoundHeader h;
    while (!(stop_ && *stop_) && is_whole(bytes, at, h) && h.round == result_.last_round + 1) {
      if (!records(bytes.substr(at + sizeof h, h.payload_bytes), number, at + sizeof h, h.records))
        return;
      result_.last_round = h.round;
      at += sizeof h + h.payload_bytes;
    }
    result_.tail = at;
  }

  // What stands behind the last whole round: zeros, a write nobody was told of, or damage.
  void judge_rest(std::string_view bytes, std::uint64_t number, bool last) {
    const std::uint64_t at = result_.tail;
    const Mark& mark = result_.mark;
    if (number == mark.segment && at < mark.end)
      return damage(place(bytes, at), "a synced round does not check");
    const std::uint64_t rest = first_nonzero(bytes, at);
    if (rest == bytes.size()) return;
    if (!last || number < mark.segment)
      return damage(rest == at ? place(bytes, at) : rest,
                    "bytes behind the last round of a full segment");
    if (!live_) {
      if (mark.clean && mark.round == result_.last_round)
        return damage(rest, "bytes behind the last round of a log that was closed cleanly");
      if (auto found = judge_torn(bytes, at, rest))
        return damage(found->byte, std::move(found->reason));
    }
    result_.torn = true;
    result_.torn_end = after_last_nonzero(bytes);
  }

  // One round at most was being written, since each is synced before the next. Is this what may be
  // left of it, its sectors written or not in any order, the last one perhaps in part? Else what is
  // it?
  std::optional<Damage> judge_torn(std::string_view bytes, std::uint64_t at,
                                   std::uint64_t rest) const {
    const auto found = [](std::uint64_t byte, const char* reason) {
      return Damage{{}, byte, reason};
    };
    RoundHeader h;
    if (read_header(bytes, at, h)) {
      if (h.round != result_.last_round + 1) return found(at, "a round that is not the next one");
      if (first_nonzero(bytes, at + sizeof h + h.payload_bytes) != bytes.size())
        return found(place(bytes, at), "a round does not check, and more stands behind it");
      return {};
    }
    if (later_round_exists(bytes, at))
      return found(at, "a round does not check, and a later one stands behind it");
    const std::uint64_t longest =
        std::min<std::uint64_t>(bytes.size(), at + sizeof h + kMaxRoundBytes);
    const std::uint64_t stray = first_nonzero(bytes, longest);
    if (stray != bytes.size()) return found(stray, "bytes that no write of the engine put there");
    const std::uint64_t sector_end = (at / kSector + 1) * kSector;
    if (rest < sector_end) {  // the first sector was written, so it begins as every round does
      static constexpr std::string_view kMagic("SRND", 4);
      std::size_t same = 0;
      while (same < std::min<std::uint64_t>(kMagic.size(), sector_end - at) &&
             at + same < bytes.size() && bytes[at + same] == kMagic[same])
        ++same;
      const bool whole = same == std::min<std::uint64_t>(kMagic.size(), sector_end - at);
      if (whole || (same > 0 && first_nonzero(bytes, at + same) == bytes.size())) return {};
      return found(rest, "bytes that no write of the engine put there");
    }
    const std::string_view window = bytes.substr(rest, longest - rest);
    const auto zeros = static_cast<std::size_t>(std::count(window.begin(), window.end(), '\0'));
    // Of a round's sectors the last may be the only one that was written, and hold hardly anything.
    const std::uint64_t last = rest + after_last_nonzero(window) - 1;
    const bool short_end = rest / kSector == last / kSector && last % kSector < kShortEnd;
    if (window.size() - zeros < kLeastTorn && !short_end)
      return found(rest, "bytes that no write of the engine put there");
    return {};
  }

  bool later_round_exists(std::string_view bytes, std::uint64_t at) const {
    static constexpr std::string_view kMagic("SRND", 4);
    for (auto p = bytes.find(kMagic, at + 1); p != std::string_view::npos;
         p = bytes.find(kMagic, p + 1)) {
      RoundHeader h;
      if (is_whole(bytes, p, h) && h.round > result_.last_round) return true;
    }
    return false;
  }

  // The record inside the bad round that does not check, where that can be told.
  std::uint64_t place(std::string_view bytes, std::uint64_t round) const {
    RoundHeader h;
    if (!read_header(bytes, round, h)) return round;
    std::uint64_t at = round + sizeof h;
    const std::uint64_t end = at + h.payload_bytes;
    RecordHeader r;
    std::string_view record;
    while (at < end && get_record(bytes.substr(at, end - at), r, record))
      at += kRecordHeaderBytes + r.bytes;
    return at < end ? at : round;
  }

  bool records(std::string_view payload, std::uint64_t segment, std::uint64_t base,
               std::uint32_t count) {
    std::size_t at = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
      RecordHeader h;
      std::string_view record;
      if (!get_record(payload.substr(at), h, record) || h.partition >= result_.offsets.size() ||
          h.offset != result_.offsets[h.partition])
        return damage(base + at, "a record does not check inside a round that does"), false;
      ++result_.offsets[h.partition];
      on_record_({PartitionId{h.partition}, Offset{h.offset}, segment, base + at, h.bytes});
      at += kRecordHeaderBytes + h.bytes;
    }
    if (at != payload.size())
      return damage(base + at, "a round holds more bytes than records"), false;
    return true;
  }

  const bool live_;
  const std::function<void(const ScannedRecord&)>& on_record_;
  const std::atomic<bool>* stop_ = nullptr;
  std::string file_;
  ScanResult result_;
};

}  // namespace

Result<ScanResult> scan_segments(const std::string& folder, bool live,
                                 const std::function<void(const ScannedRecord&)>& on_record,
                                 std::uint64_t first, LogState before) {
  const auto mark = read_mark(folder);  // before the segments, so that all it promises is there
  if (!mark) return tl::unexpected(mark.error());
  return Scan(live, *mark, std::move(before), on_record).folder(folder, first);
}

Result<ScanResult> scan_full_segment(const std::string& folder, std::uint64_t segment,
                                     LogState before, const std::atomic<bool>& stop,
                                     const std::function<void(const ScannedRecord&)>& on_record) {
  return Scan(false, {}, std::move(before), on_record).full_segment(folder, segment, stop);
}

std::optional<Damage> scan_bytes(std::string_view bytes, const Mark& mark,
                                 const std::function<void(const ScannedRecord&)>& on_record) {
  return Scan(false, mark, {}, on_record).bytes(bytes);
}

}  // namespace soma::events
