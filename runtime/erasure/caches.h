// What a node has made from the log, and makes anew.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "projections/projections.h"
#include "runtime/host/host.h"
#include "runtime/memory/memory_index.h"

namespace soma::runtime::erasure {

inline constexpr std::int64_t kStoresMs = 10 * 60 * 1000;  // to read the log again for one store

struct Caches {  // not owned
  PartitionHost* host = nullptr;
  StateStore* store = nullptr;
  MemoryIndex* memory = nullptr;
  projections::Projections* projections = nullptr;
  std::string data_dir;
};

// Snapshots, actors, standbys and the memory index of this node, all of them; `made_anew` returns
// when what was here is made again from the log as it can be opened now, and each standby has begun
// again to do so. kDeadlineExceeded: may be waited for again; kCancelled.
using Epochs = std::map<PartitionId, Epoch>;  // of the partitions here, before
Result<Epochs> drop_states(const Caches& caches);
Status made_anew(const Caches& caches, const Epochs& before, const std::function<bool()>& stopping);

// Snapshots in the folder of a node that does not run.
Status remove_snapshots(const std::string& data_dir);

// What is said of the views in a certificate.
Result<std::string> drop_views(projections::Projections& projections);

}  // namespace soma::runtime::erasure
