// What a node has made from the log, and makes anew.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "projections/projections.h"
#include "runtime/host/host.h"
#include "runtime/memory/memory_index.h"

namespace soma::runtime::erasure {

// What a certificate says of views in a given database.
inline constexpr char kViewsDone[] =
    "tables made anew from the log; WAL, replicas and backups of this server are its operator's "
    "to clear";
inline constexpr std::int64_t kStoresMs = 10 * 60 * 1000;  // to read the log again for one store

struct Caches {  // not owned
  PartitionHost* host = nullptr;
  StateStore* store = nullptr;
  MemoryIndex* memory = nullptr;
  projections::Projections* projections = nullptr;
  std::string data_dir;
};

using Epochs = std::map<PartitionId, Epoch>;  // of the partitions here, before
using Stopping = std::function<bool()>;

// How snapshots, actors, standbys and the memory index of a node are dropped, all of them, and when
// what was here is made again from the log as it can be opened now, and each standby has begun
// again to do so. The waits fail with kDeadlineExceeded, and may be done again, or kCancelled.
struct Work {
  std::function<Result<Epochs>()> drop_states;
  std::function<Status(const Epochs&, const Stopping&)> wait_states;
  std::function<void()> drop_memory;
  std::function<Status(const Stopping&)> wait_memory;
  projections::Projections* projections = nullptr;
};
Work work_of(const Caches& caches);

// How far it is: what was dropped is only waited for, however long that takes.
struct Remaking {
  Epochs before;
  bool memory = false;  // is being made anew: after the actors, which may repeat what they knew
};
Status made_anew(const Work& work, Remaking& remaking, const Stopping& stopping);

// Snapshots in the folder of a node that does not run.
Status remove_snapshots(const std::string& data_dir);

}  // namespace soma::runtime::erasure
