// A recorded journal as the beginning of a world.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "events/log.h"

namespace soma::sim {

struct Inherited {
  std::uint32_t partitions = 0;
  // In an order in which they may have come about: each partition's own, and no frame before one
  // whose sends it takes up.
  std::vector<std::pair<PartitionId, std::string>> records;
  std::int64_t last_ms = 0;  // of the newest frame
};

inline constexpr std::size_t kMostInheritedBytes = 512 << 20;

// The valid frames of `log`, opened, chained anew and stored without seals: what has been erased
// stays so. kTooLarge, kCorrupt.
Result<Inherited> inherit(const events::Log& log);

}  // namespace soma::sim
