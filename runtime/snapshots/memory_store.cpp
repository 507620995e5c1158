// Maps under one lock.
#include "runtime/snapshots/memory_store.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>

namespace soma::runtime {

namespace {

class MemoryStore final : public StateStore {
 public:
  std::optional<Snapshot> load(PartitionId p, const ActorKey& actor) const override {
    std::lock_guard lock(mutex_);
    auto it = snapshots_.find({p.value, actor});
    return it == snapshots_.end() ? std::nullopt : std::optional(it->second);
  }
  std::optional<Checkpoint> checkpoint(PartitionId p) const override {
    std::lock_guard lock(mutex_);
    auto it = checkpoints_.find(p.value);
    return it == checkpoints_.end() ? std::nullopt : std::optional(it->second);
  }
  std::optional<DedupeRow> dedupe(PartitionId p, std::string_view id) const override {
    std::lock_guard lock(mutex_);
    auto it = dedupe_.find({p.value, std::string(id)});
    return it == dedupe_.end() ? std::nullopt : std::optional(it->second);
  }
  std::vector<HistoryRow> history(PartitionId p, const ActorKey& actor, Sequence after,
                                  std::size_t limit) const override {
    std::lock_guard lock(mutex_);
    std::vector<HistoryRow> out;
    auto it = history_.find({p.value, actor});
    if (it == history_.end()) return out;
    auto row = it->second.upper_bound(after.value +
                                      1);  // the row that holds after + 1 begins at or before it
    if (row != it->second.begin()) --row;
    for (; row != it->second.end() && out.size() < limit; ++row) out.push_back(row->second);
    return out;
  }
  bool begins(PartitionId p, const ActorKey& actor, Sequence first) const override {
    std::lock_guard lock(mutex_);
    auto it = history_.find({p.value, actor});
    return it != history_.end() && it->second.contains(first.value);
  }
  std::vector<ActorKey> with_pending(PartitionId p) const override {
    std::lock_guard lock(mutex_);
    std::vector<ActorKey> out;
    for (const auto& [key, s] : snapshots_)
      if (key.first == p.value && s.pending) out.push_back(key.second);
    return out;
  }
  std::vector<ActorKey> list(PartitionId p, std::string_view tenant, std::string_view type,
                             const ActorKey* after, std::size_t limit) const override {
    std::lock_guard lock(mutex_);
    std::vector<ActorKey> out;
    for (const auto& [key, s] : snapshots_)
      if (key.first == p.value && key.second.tenant == tenant &&
          (type.empty() || key.second.type == type) && (!after || store_order(*after, key.second)))
        out.push_back(key.second);
    std::sort(out.begin(), out.end(), store_order);
    if (out.size() > limit) out.resize(limit);
    return out;
  }
  Status each_snapshot(PartitionId p, const OnSnapshot& visit) const override {
    std::lock_guard lock(mutex_);
    for (const auto& [key, s] : snapshots_)
      if (key.first == p.value) visit(key.second, s);
    return {};
  }
  Result<std::size_t> drop_snapshots(std::string_view tenant, const ActorKey* only) override {
    std::lock_guard lock(mutex_);
    return std::erase_if(snapshots_, [&](const auto& row) {
      return only ? row.first.second == *only : row.first.second.tenant == tenant;
    });
  }
  Status write(PartitionId p, const Batch& batch) override {
    std::lock_guard lock(mutex_);
    if (batch.generation != generation_)
      return fail(Code::kUnavailable, "the snapshot store began anew meanwhile");
    for (const auto& s : batch.snapshots) snapshots_[{p.value, s.actor}] = s;
    for (const auto& d : batch.dedupe) dedupe_[{p.value, d.command_id}] = d;
    for (const auto& h : batch.history) history_[{p.value, h.actor}][h.first.value] = h;
    if (batch.checkpoint) checkpoints_[p.value] = *batch.checkpoint;
    return {};
  }
  Status drop_all() override {
    std::lock_guard lock(mutex_);
    ++generation_;
    snapshots_.clear();
    dedupe_.clear();
    history_.clear();
    checkpoints_.clear();
    return {};
  }
  Status drop(PartitionId p) override {
    std::lock_guard lock(mutex_);
    const auto of_partition = [p](const auto& row) { return row.first.first == p.value; };
    std::erase_if(snapshots_, of_partition);
    std::erase_if(dedupe_, of_partition);
    std::erase_if(history_, of_partition);
    checkpoints_.erase(p.value);
    return {};
  }
  std::uint64_t generation() const override { return generation_; }
  void expire_dedupe(std::int64_t before_ms) override {
    std::lock_guard lock(mutex_);
    std::erase_if(dedupe_, [&](const auto& d) { return d.second.at_ms < before_ms; });
  }

 private:
  mutable std::mutex mutex_;
  std::atomic<std::uint64_t> generation_{0};
  std::map<std::pair<std::uint32_t, ActorKey>, Snapshot> snapshots_;
  std::map<std::pair<std::uint32_t, ActorKey>, std::map<std::uint64_t, HistoryRow>> history_;
  std::map<std::pair<std::uint32_t, std::string>, DedupeRow> dedupe_;
  std::map<std::uint32_t, Checkpoint> checkpoints_;
};

}  // namespace

std::unique_ptr<StateStore> make_memory_store() { return std::make_unique<MemoryStore>(); }

}  // namespace soma::runtime
