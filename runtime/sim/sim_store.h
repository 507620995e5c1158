// A disk with snapshots: loses what was not synced, rots, refuses writes. Outlives its processes.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>

#include "runtime/host/ports.h"
#include "runtime/sim/life.h"

namespace soma::sim {

// Rows are kept as the product's bytes (runtime/snapshots/codec.h), so that rot meets its digests.
// Batches since the last sync can be undone, the newest first, as a crash without WAL loses them.
class SimStore final : public runtime::StateStore {
 public:
  SimStore(Ground& ground, std::string name);

  std::optional<Snapshot> load(PartitionId partition, const ActorKey& actor) const override;
  std::optional<Checkpoint> checkpoint(PartitionId partition) const override;
  std::optional<DedupeRow> dedupe(PartitionId partition, std::string_view id) const override;
  std::vector<HistoryRow> history(PartitionId partition, const ActorKey& actor, Sequence after,
                                  std::size_t limit) const override;
  bool begins(PartitionId partition, const ActorKey& actor, Sequence first) const override;
  std::vector<ActorKey> with_pending(PartitionId partition) const override;
  std::vector<ActorKey> list(PartitionId partition, std::string_view tenant, std::string_view type,
                             const ActorKey* after, std::size_t limit) const override;
  Status each_snapshot(PartitionId partition, const OnSnapshot& visit) const override;
  Result<std::size_t> drop_snapshots(std::string_view tenant, const ActorKey* only) override;
  Status write(PartitionId partition, const Batch& batch) override;
  Status drop_all() override;
  Status drop(PartitionId partition) override;
  void expire_dedupe(std::int64_t before_ms) override;

  void crash();  // its process died: some of what was not synced is lost, at times all of it

 private:
  using Rows = std::map<std::string, std::string>;
  void put(const std::string& key, std::optional<std::string> value);
  void rot(char table, Fault fault);
  const std::string* find(const std::string& key) const;

  Ground& ground_;
  const std::string name_;
  Rng rng_;
  Rows rows_;
  // What each unsynced batch replaced: key and old value.
  std::deque<std::vector<std::pair<std::string, std::optional<std::string>>>> undo_;
};

// The store as a process sees it: nothing comes from the dead.
std::unique_ptr<runtime::StateStore> make_store_face(std::shared_ptr<Life> life, SimStore& store);

}  // namespace soma::sim
