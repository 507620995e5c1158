// A store that a test holds up, or whose writes fail.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>

#include "runtime/snapshots/memory_store.h"

namespace soma::runtime {

class GatedStore final : public StateStore {
 public:
  // While one is held, whoever comes to it waits.
  std::mutex checkpoints, loads, writes, histories;
  std::atomic<bool> writes_fail{false};
  std::atomic<bool> loads_garbled{false};  // snapshots are read that do not parse
  std::atomic<std::uint64_t> lost{0};      // how often it has begun anew
  std::atomic<int> waiting{0};             // came to a gate, and have not passed it

  std::optional<Snapshot> load(PartitionId p, const ActorKey& actor) const override {
    self().pass(self().loads);
    auto snapshot = store_->load(p, actor);
    if (snapshot && loads_garbled) snapshot->state = "\xff";
    return snapshot;
  }
  std::optional<Checkpoint> checkpoint(PartitionId p) const override {
    self().pass(self().checkpoints);
    return store_->checkpoint(p);
  }
  Status write(PartitionId p, const Batch& batch) override {
    pass(writes);
    if (writes_fail) return fail(Code::kIo, "the disk says no");
    return store_->write(p, batch);
  }
  std::optional<DedupeRow> dedupe(PartitionId p, std::string_view id) const override {
    return store_->dedupe(p, id);
  }
  std::vector<HistoryRow> history(PartitionId p, const ActorKey& actor, Sequence after,
                                  std::size_t limit) const override {
    self().pass(self().histories);
    return store_->history(p, actor, after, limit);
  }
  bool begins(PartitionId p, const ActorKey& actor, Sequence first) const override {
    return store_->begins(p, actor, first);
  }
  std::vector<ActorKey> with_pending(PartitionId p) const override {
    return store_->with_pending(p);
  }
  std::vector<ActorKey> list(PartitionId p, std::string_view tenant, std::string_view type,
                             const ActorKey* after, std::size_t limit) const override {
    return store_->list(p, tenant, type, after, limit);
  }
  Status each_snapshot(PartitionId p, const OnSnapshot& visit) const override {
    return store_->each_snapshot(p, visit);
  }
  Result<std::size_t> drop_snapshots(std::string_view tenant, const ActorKey* only) override {
    return store_->drop_snapshots(tenant, only);
  }
  Status drop_all() override { return store_->drop_all(); }
  Status drop(PartitionId p) override { return store_->drop(p); }
  std::uint64_t generation() const override { return store_->generation() + lost; }
  void expire_dedupe(std::int64_t before_ms) override { store_->expire_dedupe(before_ms); }

 private:
  GatedStore& self() const { return const_cast<GatedStore&>(*this); }
  void pass(std::mutex& gate) {
    ++waiting;
    { std::lock_guard lock(gate); }
    --waiting;
  }
  std::unique_ptr<StateStore> store_ = make_memory_store();
};

}  // namespace soma::runtime
