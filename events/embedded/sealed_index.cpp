// The bytes of a sealed index: a header, the offsets before the segment, sixteen bytes a record.
#include "events/embedded/sealed_index.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <fstream>
#include <iterator>

#include "events/embedded/file_ops.h"

namespace soma::events {

namespace {

constexpr char kMagic[8] = {'S', 'O', 'M', 'A', 'I', 'D', 'X', '1'};

struct Header {
  char magic[8];
  std::uint32_t partition_count;
  std::uint32_t salt;
  std::uint64_t segment;
  std::uint64_t rounds_before;
  std::uint64_t last_round;
  std::uint64_t size;
  std::uint64_t records;
  std::uint32_t body_crc;  // of the offsets and records that follow
  std::uint32_t crc;       // of everything before
};
static_assert(sizeof(Header) == 64);

struct Entry {
  std::uint64_t byte;
  std::uint32_t partition;
  std::uint32_t bytes;
};
static_assert(sizeof(Entry) == 16);

template <typename T>
void put(std::string& out, const T& value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <typename T>
T get(std::string_view bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

// Whether the file beside the index is the one it was made from.
bool is_segment_of(const std::string& folder, const SealedIndex& index) {
  const std::string path = folder + "/" + segment_name(index.segment);
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat st {};
  SegmentHeader h{};
  if (fd.value < 0 || ::fstat(fd.value, &st) != 0 ||
      static_cast<std::uint64_t>(st.st_size) != index.size ||
      read_at(fd.value, reinterpret_cast<char*>(&h), sizeof h, 0) != 0)
    return false;
  const SegmentHeader wanted =
      make_segment_header(index.before.partition_count, index.segment, index.before.last_round + 1,
                          index.size, index.before.salt);
  return std::memcmp(&h, &wanted, sizeof h) == 0;
}

}  // namespace

LogState SealedIndex::after() const {
  LogState out = before;
  out.last_round = last_round;
  for (const auto& r : records) out.offsets[r.partition.value] = r.offset.value + 1;
  return out;
}

std::string sealed_index_path(const std::string& folder, std::uint64_t segment) {
  std::string name = segment_name(segment);
  name.replace(name.size() - 4, 4, ".idx");
  return folder + "/" + name;
}

std::string encode_sealed_index(const SealedIndex& index) {
  Header h{};
  std::memcpy(h.magic, kMagic, sizeof kMagic);
  h.partition_count = index.before.partition_count;
  h.salt = index.before.salt;
  h.segment = index.segment;
  h.rounds_before = index.before.last_round;
  h.last_round = index.last_round;
  h.size = index.size;
  h.records = index.records.size();
  std::string out;
  out.reserve(sizeof h + index.before.offsets.size() * 8 + index.records.size() * sizeof(Entry));
  put(out, h);
  for (const std::uint64_t offset : index.before.offsets) put(out, offset);
  for (const auto& r : index.records) put(out, Entry{r.byte, r.partition.value, r.bytes});
  h.body_crc = crc32c(std::string_view(out).substr(sizeof h));
  h.crc = header_crc(h);
  std::memcpy(out.data(), &h, sizeof h);
  return out;
}

std::optional<SealedIndex> decode_sealed_index(std::string_view bytes) {
  if (bytes.size() < sizeof(Header)) return {};
  const auto h = get<Header>(bytes, 0);
  if (std::memcmp(h.magic, kMagic, sizeof kMagic) != 0 || h.crc != header_crc(h) ||
      h.partition_count == 0 || h.partition_count > kMaxPartitions ||
      h.records > bytes.size() / sizeof(Entry))
    return {};
  const std::size_t entries = sizeof h + std::size_t{h.partition_count} * 8;
  if (bytes.size() != entries + h.records * sizeof(Entry) ||
      h.body_crc != crc32c(bytes.substr(sizeof h)))
    return {};
  SealedIndex index;
  index.before = {h.partition_count, h.salt, h.rounds_before, {}};
  index.segment = h.segment;
  index.size = h.size;
  index.last_round = h.last_round;
  for (std::size_t p = 0; p < h.partition_count; ++p)
    index.before.offsets.push_back(get<std::uint64_t>(bytes, sizeof h + p * 8));
  std::vector<std::uint64_t> next = index.before.offsets;
  index.records.reserve(h.records);
  for (std::size_t i = 0; i < h.records; ++i) {
    const auto e = get<Entry>(bytes, entries + i * sizeof(Entry));
    if (e.partition >= h.partition_count) return {};
    index.records.push_back(
        {PartitionId{e.partition}, Offset{next[e.partition]++}, h.segment, e.byte, e.bytes});
  }
  return index;
}

std::optional<SealedIndex> read_sealed_index(const std::string& folder, std::uint64_t segment) {
  std::ifstream in(sealed_index_path(folder, segment), std::ios::binary);
  if (!in) return {};
  auto index = decode_sealed_index(std::string((std::istreambuf_iterator<char>(in)), {}));
  if (!index || index->segment != segment || !is_segment_of(folder, *index)) return {};
  return index;
}

Status write_sealed_index(const std::string& folder, const SealedIndex& index) {
  const std::string path = sealed_index_path(folder, index.segment), temp = path + ".tmp";
  const std::string bytes = encode_sealed_index(index);
  const FileOps ops = FileOps::real();
  Fd fd(::open(temp.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  int e = fd.value < 0 ? errno : ops.write_at(fd.value, bytes.data(), bytes.size(), 0);
  if (e == 0) e = ops.sync_data(fd.value);
  if (e == 0) e = ops.rename(temp, path);
  if (e == 0) e = ops.sync_folder(folder);
  if (e == 0) return {};
  ::unlink(temp.c_str());
  return tl::unexpected(io_error("cannot write " + path, e));
}

}  // namespace soma::events
