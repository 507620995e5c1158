// The kinds of faults, which of them a seed turns on and how hard, and how often each was injected.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "runtime/sim/rng.h"

namespace soma::sim {

// Name, and the odds per million draws when a seed turns it on hard. What is drawn on differs: a
// step, a call into the world, an append, a store write, an effect, a command.
#define SOMA_SIM_FAULTS(X)                      \
  X(kCrash, "crash", 400)                       \
  X(kCrashInCall, "crash_in_call", 600)         \
  X(kCrashInRecovery, "crash_in_recovery", 0)   \
  X(kPause, "pause", 150)                       \
  X(kTakeover, "takeover", 200)                 \
  X(kStop, "graceful_stop", 120)                \
  X(kLostAck, "lost_ack", 8'000)                \
  X(kLostAppend, "lost_append", 6'000)          \
  X(kLateAppend, "late_append", 6'000)          \
  X(kTruncatedTail, "truncated_tail", 5'000)    \
  X(kUnsentTail, "unsent_tail", 0)              \
  X(kDuplicate, "duplicate_append", 30'000)     \
  X(kNoOffset, "no_offset", 30'000)             \
  X(kOffsetGap, "offset_gap", 30'000)           \
  X(kSlowReport, "slow_report", 40'000)         \
  X(kRefused, "append_refused", 6'000)          \
  X(kStorageFull, "storage_full", 60)           \
  X(kReadError, "read_error", 3'000)            \
  X(kStoreLost, "store_unsynced_lost", 700'000) \
  X(kStoreWiped, "store_wiped", 150'000)        \
  X(kStoreError, "store_write_error", 150'000)  \
  X(kSnapshotRot, "snapshot_rot", 100'000)      \
  X(kCheckpointRot, "checkpoint_rot", 30'000)   \
  X(kSlowEffect, "slow_effect", 100'000)        \
  X(kFailedEffect, "failed_effect", 200'000)    \
  X(kGarbledEffect, "garbled_effect", 50'000)   \
  X(kClockForward, "clock_forward", 60)         \
  X(kClockBack, "clock_back", 60)               \
  X(kPoison, "poison", 150)                     \
  X(kExplode, "explode", 15'000)                \
  X(kLostReply, "lost_reply", 40'000)           \
  X(kDoubleSubmit, "double_submit", 60'000)     \
  X(kQueueFull, "queue_full", 0)                \
  X(kPassivation, "passivation", 0)             \
  X(kForeignClaim, "foreign_claim", 0)

enum class Fault : std::uint8_t {
#define SOMA_X(name, text, odds) name,
  SOMA_SIM_FAULTS(SOMA_X)
#undef SOMA_X
      kCount
};
inline constexpr std::size_t kFaults = static_cast<std::size_t>(Fault::kCount);
std::string_view fault_name(Fault fault);

// Each kind draws from its own stream. Kinds with odds 0 are not drawn: they are what others lead
// to, and only counted.
class Faults {
 public:
  explicit Faults(std::uint64_t seed);

  bool draw(Fault fault);  // and counts it
  void count(Fault fault, std::uint64_t times = 1) {
    counts_[static_cast<std::size_t>(fault)] += times;
  }
  bool on(Fault fault) const { return odds_[static_cast<std::size_t>(fault)] > 0; }
  void stop() { stopped_ = true; }  // from now on nothing is drawn
  bool stopped() const { return stopped_; }
  std::map<std::string, std::uint64_t> counts() const;

 private:
  std::array<std::uint32_t, kFaults> odds_{};
  std::array<std::uint64_t, kFaults> counts_{};
  std::vector<Rng> streams_;
  bool stopped_ = false;
};

}  // namespace soma::sim
