// Encoding and checking of the segment bytes; CRC-32C by the processor where it can.
#include "events/embedded/segment.h"

#include <array>
#include <cstdio>

namespace soma::events {

namespace {

std::uint32_t crc_table_step(std::uint32_t crc, unsigned char byte) {
  static const auto table = [] {
    std::array<std::uint32_t, 256> t{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t c = i;
      for (int k = 0; k < 8; ++k) c = c & 1 ? 0x82f63b78U ^ (c >> 1) : c >> 1;
      t[i] = c;
    }
    return t;
  }();
  return table[(crc ^ byte) & 0xff] ^ (crc >> 8);
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t crc_hardware(std::uint32_t crc,
                                                             std::string_view bytes) {
  const char* p = bytes.data();
  std::size_t left = bytes.size();
  std::uint64_t wide = crc;
  for (; left >= 8; left -= 8, p += 8) {
    std::uint64_t word;
    std::memcpy(&word, p, 8);
    wide = __builtin_ia32_crc32di(wide, word);
  }
  auto narrow = static_cast<std::uint32_t>(wide);
  for (; left > 0; --left, ++p)
    narrow = __builtin_ia32_crc32qi(narrow, static_cast<unsigned char>(*p));
  return narrow;
}
#endif

}  // namespace

std::uint32_t crc32c(std::string_view bytes, std::uint32_t seed) {
  std::uint32_t crc = ~seed;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2")) return ~crc_hardware(crc, bytes);
#endif
  for (char c : bytes) crc = crc_table_step(crc, static_cast<unsigned char>(c));
  return ~crc;
}

void put_record(std::string& out, std::uint32_t partition, std::uint64_t offset,
                std::string_view record) {
  char head[kRecordHeaderBytes];
  const auto size = static_cast<std::uint32_t>(record.size());
  std::memcpy(head, &size, 4);
  std::memcpy(head + 4, &partition, 4);
  std::memcpy(head + 8, &offset, 8);
  const std::uint32_t crc = crc32c(record, crc32c({head, 16}));
  std::memcpy(head + 16, &crc, 4);
  out.append(head, sizeof head);
  out.append(record);
}

bool get_record(std::string_view at, RecordHeader& h, std::string_view& record) {
  if (at.size() < kRecordHeaderBytes) return false;
  std::memcpy(&h.bytes, at.data(), 4);
  std::memcpy(&h.partition, at.data() + 4, 4);
  std::memcpy(&h.offset, at.data() + 8, 8);
  std::memcpy(&h.crc, at.data() + 16, 4);
  if (h.bytes > at.size() - kRecordHeaderBytes) return false;
  record = at.substr(kRecordHeaderBytes, h.bytes);
  return crc32c(record, crc32c(at.substr(0, 16))) == h.crc;
}

SegmentHeader make_segment_header(std::uint32_t partitions, std::uint64_t segment,
                                  std::uint64_t first_round, std::uint64_t size,
                                  std::uint32_t salt) {
  SegmentHeader h{};
  std::memcpy(h.magic, kSegmentMagic, sizeof h.magic);
  h.version = kSegmentVersion;
  h.partition_count = partitions;
  h.segment = segment;
  h.first_round = first_round;
  h.size = size;
  h.salt = salt;
  h.crc = header_crc(h);
  return h;
}

void seal_round(std::string& bytes, std::uint64_t round, std::uint32_t records,
                std::uint32_t salt) {
  RoundHeader h{};
  h.magic = kRoundMagic;
  h.payload_bytes = static_cast<std::uint32_t>(bytes.size() - sizeof h);
  h.round = round;
  h.records = records;
  h.payload_crc = crc32c(std::string_view(bytes).substr(sizeof h));
  h.crc = header_crc(h, salt);
  std::memcpy(bytes.data(), &h, sizeof h);
}

std::string segment_name(std::uint64_t segment) {
  char name[32];
  std::snprintf(name, sizeof name, "%020llu.seg", static_cast<unsigned long long>(segment));
  return name;
}

}  // namespace soma::events
