// The bytes of a segment: fixed little-endian headers, each under a CRC-32C, no unchecked byte.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace soma::events {

std::uint32_t crc32c(std::string_view bytes, std::uint32_t seed = 0);

inline constexpr std::uint32_t kRoundMagic = 0x444e5253;  // "SRND"
inline constexpr char kSegmentMagic[8] = {'S', 'O', 'M', 'A', 'S', 'E', 'G', '1'};
inline constexpr std::uint32_t kMaxRoundBytes = 8 << 20;
inline constexpr std::uint32_t kMaxPartitions = 4096;
inline constexpr std::uint64_t kMinSegmentBytes = 64 << 10;
inline constexpr std::uint64_t kMaxSegmentBytes = 1 << 30;
inline constexpr std::uint32_t kSegmentVersion = 1;

// 64 bytes at the start of a segment.
struct SegmentHeader {
  char magic[8];
  std::uint32_t version;
  std::uint32_t partition_count;
  std::uint64_t segment;      // number of the file, from 0
  std::uint64_t first_round;  // number of its first round
  std::uint64_t size;         // bytes of the file
  std::uint32_t salt;         // of the log: random, so that no content can pass for a round
  std::uint8_t zero[16];
  std::uint32_t crc;  // of everything before
};
static_assert(sizeof(SegmentHeader) == 64);

// 32 bytes before the records of one commit round.
struct RoundHeader {
  std::uint32_t magic;
  std::uint32_t payload_bytes;
  std::uint64_t round;  // from 1, consecutive over all segments
  std::uint32_t records;
  std::uint32_t payload_crc;  // of all records with their headers
  std::uint32_t zero;
  std::uint32_t crc;  // of everything before, begun with the log's salt
};
static_assert(sizeof(RoundHeader) == 32);

// 20 bytes before each record, packed by hand: the record's own CRC guards single reads.
struct RecordHeader {
  std::uint32_t bytes;
  std::uint32_t partition;
  std::uint64_t offset;
  std::uint32_t crc;  // of the three fields above and the record
};
inline constexpr std::size_t kRecordHeaderBytes = 20;

template <typename Header>
std::uint32_t header_crc(const Header& h, std::uint32_t salt = 0) {
  return crc32c({reinterpret_cast<const char*>(&h), sizeof(Header) - sizeof(std::uint32_t)}, salt);
}

void put_record(std::string& out, std::uint32_t partition, std::uint64_t offset,
                std::string_view record);
// False when the CRC or a size does not match; then nothing is promised about `header`.
bool get_record(std::string_view at, RecordHeader& header, std::string_view& record);

SegmentHeader make_segment_header(std::uint32_t partitions, std::uint64_t segment,
                                  std::uint64_t first_round, std::uint64_t size,
                                  std::uint32_t salt);
// Fills in the header of a round whose payload stands behind the first sizeof(RoundHeader) bytes.
void seal_round(std::string& bytes, std::uint64_t round, std::uint32_t records, std::uint32_t salt);

std::string segment_name(std::uint64_t segment);  // 00000000000000000007.seg

}  // namespace soma::events
