// Strong types for ids, offsets and epochs, and the actor key with its partition rule.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace soma {

// A number that does not mix with other numbers. Values only; no arithmetic but next().
template <typename Tag, typename Rep = std::uint64_t>
struct Strong {
  Rep value{};
  constexpr auto operator<=>(const Strong&) const = default;
  constexpr Strong next() const { return Strong{static_cast<Rep>(value + 1)}; }
};

using PartitionId = Strong<struct PartitionTag, std::uint32_t>;
using Offset = Strong<struct OffsetTag>;      // of a record in its partition, from 0
using Epoch = Strong<struct EpochTag>;        // of a claim, from 1
using FrameNumber = Strong<struct FrameTag>;  // within an epoch: the claim is 0, frames 1, 2, …
using Sequence = Strong<struct SequenceTag>;  // of an actor's events, from 1; 0 = none

// Where a record stands: shown to clients as "PARTITION/OFFSET" (header Soma-Position).
struct Position {
  PartitionId partition;
  Offset offset;
  constexpr auto operator<=>(const Position&) const = default;
};
std::string to_string(const Position& position);
std::optional<Position> parse_position(std::string_view text);

// One entity. `affinity` chooses the partition: empty = the id itself; "#N" = partition N exactly.
struct ActorKey {
  std::string tenant;
  std::string type;
  std::string id;
  std::string affinity;

  bool operator==(const ActorKey& o) const {
    return tenant == o.tenant && type == o.type && id == o.id;
  }
  auto operator<=>(const ActorKey& o) const {
    if (auto c = tenant <=> o.tenant; c != 0) return c;
    if (auto c = type <=> o.type; c != 0) return c;
    return id <=> o.id;
  }
};
std::string to_string(const ActorKey& key);  // TENANT/TYPE/ID, as in ce_subject and record keys

// murmur2 of "TENANT/AFFINITY", as Kafka's default partitioner (positive, modulo count).
PartitionId partition_of(const ActorKey& key, std::uint32_t partition_count);
std::uint32_t murmur2(std::string_view bytes);

}  // namespace soma

template <>
struct std::hash<soma::ActorKey> {
  std::size_t operator()(const soma::ActorKey& k) const noexcept {
    std::hash<std::string> h;
    return (h(k.tenant) * 1000003u ^ h(k.type)) * 1000003u ^ h(k.id);
  }
};
