// What the host counts; plain atomics that telemetry reads.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "schemas/base/errors.h"

namespace soma::runtime {

#define SOMA_ONE(...) +1
inline constexpr std::size_t kErrorCodes = 0 SOMA_ERROR_CODES(SOMA_ONE);
#undef SOMA_ONE

struct HostMetrics {
  std::atomic<std::uint64_t> commands{0}, replays{0}, conflicts{0}, rejections{0}, overloads{0};
  std::atomic<std::uint64_t> frames{0}, entries{0}, events{0}, voids{0}, recoveries{0};
  std::atomic<std::uint64_t> recovered_frames{0}, recovery_us{0};  // read back by recoveries
  std::atomic<std::uint64_t> restored_frames{0};                   // and by single actors
  std::atomic<std::uint64_t> effects_started{0}, effects_done{0}, effects_failed{0},
      effects_unknown{0};
  std::atomic<std::uint64_t> parked{0}, snapshots{0}, passivated{0}, relayed{0};
  std::array<std::atomic<std::uint64_t>, kErrorCodes> refused{};  // commands, by code
  // Commit latency by power of two of microseconds: bucket i counts those below 2^i us.
  std::array<std::atomic<std::uint64_t>, 24> commit_us{};
  std::atomic<std::uint64_t> commit_us_sum{0};

  void refuse(Code code) {
    refused[static_cast<std::size_t>(code)].fetch_add(1, std::memory_order_relaxed);
  }
  void observe_commit(std::uint64_t us) {
    std::size_t bucket = 0;
    while (bucket + 1 < commit_us.size() && us >= (1ULL << bucket)) ++bucket;
    commit_us[bucket].fetch_add(1, std::memory_order_relaxed);
    commit_us_sum.fetch_add(us, std::memory_order_relaxed);
  }
};

}  // namespace soma::runtime
