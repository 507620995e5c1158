// Checks a journal from its first record on.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "actors/actor_type.h"
#include "events/log.h"
#include "runtime/checks/finding.h"
#include "runtime/host/ports.h"

namespace soma::runtime {

struct VerifyOptions {
  bool decide_again = false;  // I14
  // The log has one writer that appends in order, as the embedded engine has: a record that does
  // not follow the one before it is then damage, not what a lost append left behind.
  bool single_writer = true;
  const StateStore* snapshots = nullptr;  // opened before the log, so that it is never ahead of it
  std::size_t most_findings = 1;          // reading ends there
  // Told now and then; false ends the reading.
  std::function<bool(std::uint64_t records_done, std::uint64_t records)> on_progress;
};

struct VerifyReport {
  std::uint64_t frames = 0, events = 0, commands = 0, actors = 0, voided = 0;
  std::uint32_t partitions = 0;
  std::uint64_t erased = 0;           // entries whose personal data is gone: not decided again
  std::uint64_t parked = 0;           // entries that were parked: not decided again
  std::uint64_t decided = 0;          // entries decided again
  std::uint64_t snapshots = 0;        // compared with the fold
  std::uint64_t snapshots_other = 0;  // of another schema: not used by this build, so not compared
  struct Head {
    PartitionId partition;
    Epoch epoch;
    Offset end;
    std::string hash;
  };
  std::vector<Head> heads;
  checks::Findings findings;
  bool stopped = false;  // by on_progress
};

VerifyReport verify_journal(const events::Log& log, const actors::Catalog& catalog,
                            const VerifyOptions& options);

}  // namespace soma::runtime
