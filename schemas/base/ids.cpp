// Text forms of positions and actor keys, and Kafka's murmur2.
#include "schemas/base/ids.h"

#include <charconv>

namespace soma {

std::string to_string(const Position& p) {
  return std::to_string(p.partition.value) + "/" + std::to_string(p.offset.value);
}

std::optional<Position> parse_position(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos || slash == 0 || slash + 1 == text.size()) return {};
  Position p;
  const char* mid = text.data() + slash;
  const char* end = text.data() + text.size();
  auto a = std::from_chars(text.data(), mid, p.partition.value);
  auto b = std::from_chars(mid + 1, end, p.offset.value);
  if (a.ec != std::errc{} || a.ptr != mid || b.ec != std::errc{} || b.ptr != end) return {};
  return p;
}

std::string to_string(const ActorKey& key) { return key.tenant + "/" + key.type + "/" + key.id; }

// Source: org.apache.kafka.common.utils.Utils.murmur2 (the algorithm, seed 0x9747b28c).
std::uint32_t murmur2(std::string_view bytes) {
  constexpr std::uint32_t m = 0x5bd1e995;
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  std::size_t left = bytes.size();
  std::uint32_t h = 0x9747b28cU ^ static_cast<std::uint32_t>(left);
  for (; left >= 4; left -= 4, data += 4) {
    std::uint32_t k =
        data[0] | data[1] << 8 | data[2] << 16 | static_cast<std::uint32_t>(data[3]) << 24;
    k *= m;
    k ^= k >> 24;
    k *= m;
    h = (h * m) ^ k;
  }
  if (left == 3) h ^= static_cast<std::uint32_t>(data[2]) << 16;
  if (left >= 2) h ^= static_cast<std::uint32_t>(data[1]) << 8;
  if (left >= 1) h = (h ^ data[0]) * m;
  h ^= h >> 13;
  h *= m;
  return h ^ (h >> 15);
}

PartitionId partition_of(const ActorKey& key, std::uint32_t partition_count) {
  if (key.affinity.size() > 1 && key.affinity[0] == '#') {
    std::uint32_t n = 0;
    const char* end = key.affinity.data() + key.affinity.size();
    auto r = std::from_chars(key.affinity.data() + 1, end, n);
    if (r.ec == std::errc{} && r.ptr == end) return PartitionId{n % partition_count};
  }
  const std::string& affinity = key.affinity.empty() ? key.id : key.affinity;
  const std::uint32_t h = murmur2(key.tenant + "/" + affinity) & 0x7fffffffU;
  return PartitionId{h % partition_count};
}

}  // namespace soma
