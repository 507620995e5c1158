// What a partition needs of the host around it.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "events/entry_reader.h"
#include "runtime/host/host.h"
#include "runtime/host/metrics.h"
#include "runtime/host/standby.h"
#include "soma/v1/host.pb.h"

namespace soma::runtime {

inline constexpr char kDiskFull[] =
    "the disk is full and nothing is recorded; retry with the same Idempotency-Key";

// Why a partition recovers: StateStore::generation() rose.
inline constexpr char kStoreLost[] = "the snapshot store began anew";

// All thread-safe.
struct PartitionWorld {
  HostParts parts;
  std::unique_ptr<const events::EntryReader> entries;  // of the log
  ExecutorFactory* executors = nullptr;
  HostMetrics* metrics = nullptr;
  std::function<void(const events::ValidFrame&)> observe;
  std::function<void(PartitionId source, v1::OutboxItem item)> relay;  // to the item's partition
  // Questions to the log, which may wait for it; of partitions apart, so that one whose broker is
  // gone does not hold up the others.
  std::function<void(PartitionId, std::function<void()>)> prove;
  std::function<void(PartitionId source, PartitionId target, std::uint64_t number)> acknowledge;
  std::function<void(PartitionId target)> ask_resend;     // target serves again
  std::function<void(std::function<void()>)> background;  // store writes
  std::function<void(std::function<void()>)> aside;       // what standbys do; it may read the log
  Arrivals arrivals;
  std::atomic<bool> stopping{false};  // the host goes: what reads the log ends early
};

}  // namespace soma::runtime
