// The kinds of faults, which of them a seed turns on and how hard, and how often each was injected.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/sim/rng.h"

namespace soma::sim {

// Name; the odds per million draws when a seed turns it on hard; its number in docs/faults.md (0:
// in no row). What is drawn on differs: a step, a call into the world, an append, a store write, an
// effect, a command.
#define SOMA_SIM_FAULTS(X)                          \
  X(kCrash, "crash", 400, 1)                        \
  X(kCrashInCall, "crash_in_call", 600, 1)          \
  X(kCrashInRecovery, "crash_in_recovery", 0, 2)    \
  X(kPause, "pause", 150, 3)                        \
  X(kTakeover, "takeover", 200, 12)                 \
  X(kStop, "graceful_stop", 120, 4)                 \
  X(kLostAck, "lost_ack", 8'000, 5)                 \
  X(kLostAppend, "lost_append", 6'000, 7)           \
  X(kLateAppend, "late_append", 6'000, 5)           \
  X(kTruncatedTail, "truncated_tail", 5'000, 7)     \
  X(kUnsentTail, "unsent_tail", 0, 7)               \
  X(kDuplicate, "duplicate_append", 30'000, 6)      \
  X(kNoOffset, "no_offset", 30'000, 5)              \
  X(kOffsetGap, "offset_gap", 30'000, 0)            \
  X(kSlowReport, "slow_report", 40'000, 23)         \
  X(kRefused, "append_refused", 6'000, 16)          \
  X(kStorageFull, "storage_full", 60, 16)           \
  X(kReadError, "read_error", 3'000, 17)            \
  X(kStoreLost, "store_unsynced_lost", 700'000, 14) \
  X(kStoreWiped, "store_wiped", 150'000, 14)        \
  X(kStoreError, "store_write_error", 150'000, 17)  \
  X(kSnapshotRot, "snapshot_rot", 100'000, 18)      \
  X(kCheckpointRot, "checkpoint_rot", 30'000, 18)   \
  X(kSlowEffect, "slow_effect", 100'000, 23)        \
  X(kFailedEffect, "failed_effect", 200'000, 0)     \
  X(kGarbledEffect, "garbled_effect", 50'000, 24)   \
  X(kClockForward, "clock_forward", 60, 25)         \
  X(kClockBack, "clock_back", 60, 25)               \
  X(kPoison, "poison", 150, 27)                     \
  X(kExplode, "explode", 15'000, 27)                \
  X(kLostReply, "lost_reply", 40'000, 22)           \
  X(kDoubleSubmit, "double_submit", 60'000, 0)      \
  X(kLostCall, "lost_call", 20'000, 22)             \
  X(kLostRelay, "lost_relay", 60'000, 22)           \
  X(kDoubleRelay, "double_relay", 60'000, 0)        \
  X(kQueueFull, "queue_full", 0, 28)                \
  X(kPassivation, "passivation", 0, 0)              \
  X(kForeignClaim, "foreign_claim", 0, 13)          \
  X(kPartitionHeld, "partition_held", 20'000, 8)    \
  X(kLeaderFlap, "leader_flap", 4'000, 9)           \
  X(kShortRead, "short_read", 100'000, 10)          \
  X(kZombieAppend, "zombie_append", 0, 13)          \
  X(kLogRot, "log_rot", 0, 18)                      \
  X(kSnapshotTorn, "snapshot_torn", 60'000, 15)     \
  X(kStoreFull, "store_full", 60'000, 16)           \
  X(kNetCut, "net_cut", 150, 22)                    \
  X(kOneWayCut, "one_way_cut", 150, 22)             \
  X(kLogCut, "log_cut", 60, 22)                     \
  X(kClogged, "clogged", 5'000, 23)                 \
  X(kClockDrift, "clock_drift", 150, 26)            \
  X(kHeadHidden, "log_head_missing", 60, 11)        \
  X(kSqlConflict, "sql_conflict", 60'000, 19)       \
  X(kSqlCommitLost, "sql_commit_lost", 60'000, 20)  \
  X(kSqlReset, "sql_reset", 3'000, 0)               \
  X(kSqlStall, "sql_stall", 1'000, 21)              \
  X(kSqlRestart, "sql_restart", 2'000, 21)

enum class Fault : std::uint8_t {
#define SOMA_X(name, text, odds, number) name,
  SOMA_SIM_FAULTS(SOMA_X)
#undef SOMA_X
      kCount
};
inline constexpr std::size_t kFaults = static_cast<std::size_t>(Fault::kCount);
std::string_view fault_name(Fault fault);
// Of the kinds of docs/faults.md that the simulator knows, by number: the names that count for it.
std::map<int, std::vector<std::string>> fault_catalogue();

// Each kind draws from its own stream. Kinds with odds 0 are not drawn: they are what others lead
// to, and only counted.
class Faults {
 public:
  // `without`: names of kinds that are never drawn; what the others draw stays the same.
  Faults(std::uint64_t seed, const std::set<std::string>& without);

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
