// Rows in one ordered map: partition, table, key.
#include "runtime/sim/sim_store.h"

#include <algorithm>

#include "runtime/snapshots/codec.h"

namespace soma::sim {

namespace {

constexpr char kSnapshot = 's', kPending = 'p', kHistory = 'h', kDedupe = 'd', kCheckpoint = 'c';
constexpr std::size_t kMaxUnsynced = 64;

std::string digits(std::uint64_t v) {
  std::string out(20, '0');
  for (std::size_t i = out.size(); v > 0; v /= 10) out[--i] = static_cast<char>('0' + v % 10);
  return out;
}
std::string table(PartitionId p, char kind) { return digits(p.value) + kind; }
std::string actor_key(PartitionId p, char kind, const ActorKey& a) {
  return table(p, kind) + a.tenant + '\0' + a.type + '\0' + a.id + '\0';
}

}  // namespace

SimStore::SimStore(Ground& ground, std::string name)
    : ground_(ground), name_(std::move(name)), rng_(ground.seed, "store " + name_) {}

const std::string* SimStore::find(const std::string& key) const {
  auto it = rows_.find(key);
  return it == rows_.end() ? nullptr : &it->second;
}

std::optional<runtime::StateStore::Snapshot> SimStore::load(PartitionId p,
                                                            const ActorKey& actor) const {
  const auto* bytes = find(actor_key(p, kSnapshot, actor));
  return bytes ? runtime::decode_snapshot(*bytes) : std::nullopt;
}

std::optional<runtime::StateStore::Checkpoint> SimStore::checkpoint(PartitionId p) const {
  const auto* bytes = find(table(p, kCheckpoint));
  return bytes ? runtime::decode_checkpoint(*bytes) : std::nullopt;
}

std::optional<runtime::StateStore::DedupeRow> SimStore::dedupe(PartitionId p,
                                                               std::string_view id) const {
  const auto* bytes = find(table(p, kDedupe).append(id));
  return bytes ? runtime::decode_dedupe(*bytes) : std::nullopt;
}

std::vector<runtime::StateStore::HistoryRow> SimStore::history(PartitionId p, const ActorKey& actor,
                                                               Sequence after,
                                                               std::size_t limit) const {
  std::vector<HistoryRow> out;
  const std::string prefix = actor_key(p, kHistory, actor);
  auto it = rows_.upper_bound(prefix + digits(after.value + 1));
  if (it != rows_.begin() && std::prev(it)->first.starts_with(prefix)) --it;
  for (; it != rows_.end() && it->first.starts_with(prefix) && out.size() < limit; ++it)
    out.push_back({actor, Sequence{std::stoull(it->first.substr(prefix.size()))},
                   Offset{std::stoull(it->second)}});
  return out;
}

bool SimStore::begins(PartitionId p, const ActorKey& actor, Sequence first) const {
  return find(actor_key(p, kHistory, actor) + digits(first.value)) != nullptr;
}

std::vector<ActorKey> SimStore::with_pending(PartitionId p) const {
  std::vector<ActorKey> out;
  const std::string prefix = table(p, kPending);
  for (auto it = rows_.lower_bound(prefix); it != rows_.end() && it->first.starts_with(prefix);
       ++it)
    if (auto s = runtime::decode_snapshot(it->second)) out.push_back(std::move(s->actor));
  return out;
}

std::vector<ActorKey> SimStore::list(PartitionId p, std::string_view tenant, std::string_view type,
                                     const ActorKey* after, std::size_t limit) const {
  std::vector<ActorKey> out;
  const std::string prefix = table(p, kSnapshot);
  for (auto it = rows_.lower_bound(prefix); it != rows_.end() && it->first.starts_with(prefix);
       ++it)
    if (auto s = runtime::decode_snapshot(it->second); s && s->actor.tenant == tenant &&
                                                       (type.empty() || s->actor.type == type) &&
                                                       (!after || store_order(*after, s->actor)))
      out.push_back(std::move(s->actor));
  std::sort(out.begin(), out.end(), store_order);
  if (out.size() > limit) out.resize(limit);
  return out;
}

Status SimStore::each_snapshot(PartitionId p, const OnSnapshot& visit) const {
  const std::string prefix = table(p, kSnapshot);
  for (auto it = rows_.lower_bound(prefix); it != rows_.end() && it->first.starts_with(prefix);
       ++it) {
    auto s = runtime::decode_snapshot(it->second);
    const ActorKey actor = s ? s->actor : ActorKey{};
    visit(actor, std::move(s));
  }
  return {};
}

Result<std::size_t> SimStore::drop_snapshots(std::string_view tenant, const ActorKey* only) {
  undo_.emplace_back();
  std::vector<std::string> keys;
  for (const auto& [key, value] : rows_) {
    if (key.size() < 21 || key[20] != kSnapshot) continue;
    const auto s = runtime::decode_snapshot(value);
    if (s && (only ? s->actor == *only : s->actor.tenant == tenant)) keys.push_back(key);
  }
  for (const auto& key : keys) put(key, std::nullopt);
  return keys.size();
}

void SimStore::put(const std::string& key, std::optional<std::string> value) {
  auto it = rows_.find(key);
  undo_.back().emplace_back(key, it == rows_.end() ? std::nullopt : std::optional(it->second));
  if (value)
    rows_[key] = std::move(*value);
  else if (it != rows_.end())
    rows_.erase(it);
}

Status SimStore::write(PartitionId p, const Batch& batch) {
  if (ground_.faults.draw(Fault::kStoreError)) {
    ground_.note(name_ + " store error");
    return fail(Code::kIo, "simulated: the store takes no writes");
  }
  if (ground_.faults.draw(Fault::kStoreFull)) {
    ground_.note(name_ + " store full");
    return fail(Code::kStorageFull, "simulated: no space for the store");
  }
  undo_.emplace_back();
  for (const auto& s : batch.snapshots) {
    put(actor_key(p, kSnapshot, s.actor), runtime::encode_snapshot(s));
    const std::string pending = actor_key(p, kPending, s.actor);
    if (s.pending)
      put(pending, runtime::encode_snapshot({s.actor, s.sequence, s.offset, {}, {}, true}));
    else
      put(pending, std::nullopt);
  }
  for (const auto& d : batch.dedupe)
    put(table(p, kDedupe).append(d.command_id), runtime::encode_dedupe(d));
  for (const auto& h : batch.history)
    put(actor_key(p, kHistory, h.actor) + digits(h.first.value), std::to_string(h.offset.value));
  if (batch.checkpoint) put(table(p, kCheckpoint), runtime::encode_checkpoint(*batch.checkpoint));
  ground_.note(name_ + " checkpoint p" + std::to_string(p.value) + " snapshots " +
               std::to_string(batch.snapshots.size()));
  if (undo_.size() > kMaxUnsynced || rng_.chance(150'000)) undo_.clear();  // a memory table synced
  rot(kSnapshot, Fault::kSnapshotRot);
  rot(kCheckpoint, Fault::kCheckpointRot);
  rot(kSnapshot, Fault::kSnapshotTorn);
  return {};
}

Status SimStore::drop_all() {
  rows_.clear();
  undo_.clear();
  return {};
}

Status SimStore::drop(PartitionId p) {
  const std::string prefix = table(p, kSnapshot).substr(0, 20);
  std::vector<std::string> keys;
  for (auto it = rows_.lower_bound(prefix); it != rows_.end() && it->first.starts_with(prefix);
       ++it)
    keys.push_back(it->first);
  undo_.emplace_back();
  for (const auto& key : keys) put(key, std::nullopt);
  return {};
}

void SimStore::expire_dedupe(std::int64_t before_ms) {
  std::erase_if(rows_, [&](const auto& row) {
    if (row.first.size() < 21 || row.first[20] != kDedupe) return false;
    auto d = runtime::decode_dedupe(row.second);
    return d && d->at_ms < before_ms;
  });
}

// One bit of a stored row turns, or its end is missing. The undo list may hold the old bytes: then
// a crash heals it.
void SimStore::rot(char kind, Fault fault) {
  if (!ground_.faults.draw(fault)) return;
  std::vector<std::string*> candidates;
  for (auto& [key, value] : rows_)
    if (key.size() >= 21 && key[20] == kind) candidates.push_back(&value);
  if (candidates.empty()) return;
  std::string& row = *candidates[static_cast<std::size_t>(rng_.below(candidates.size()))];
  if (fault == Fault::kSnapshotTorn) {
    row.resize(static_cast<std::size_t>(rng_.below(row.size())));
    return ground_.note(name_ + " a torn row " + kind);
  }
  char& byte = row[static_cast<std::size_t>(rng_.below(row.size()))];
  byte = static_cast<char>(byte ^ (1 << rng_.below(8)));
  ground_.note(name_ + " rot of a row " + kind);
}

void SimStore::crash() {
  if (ground_.faults.draw(Fault::kStoreWiped)) {
    ground_.note(name_ + " disk lost");
    drop_all();
    return;
  }
  if (undo_.empty() || !ground_.faults.draw(Fault::kStoreLost)) return;
  std::size_t lost = 1 + static_cast<std::size_t>(rng_.below(undo_.size()));
  ground_.note(name_ + " loses " + std::to_string(lost) + " batches");
  for (; lost > 0; --lost) {
    auto& batch = undo_.back();
    for (auto it = batch.rbegin(); it != batch.rend(); ++it) {
      if (it->second)
        rows_[it->first] = std::move(*it->second);
      else
        rows_.erase(it->first);
    }
    undo_.pop_back();
  }
}

namespace {

class Face final : public runtime::StateStore {
 public:
  Face(std::shared_ptr<Life> life, SimStore& store) : life_(std::move(life)), store_(store) {}
  std::optional<Snapshot> load(PartitionId p, const ActorKey& a) const override {
    return store_.load(p, a);
  }
  std::optional<Checkpoint> checkpoint(PartitionId p) const override {
    return store_.checkpoint(p);
  }
  std::optional<DedupeRow> dedupe(PartitionId p, std::string_view id) const override {
    return store_.dedupe(p, id);
  }
  std::vector<HistoryRow> history(PartitionId p, const ActorKey& a, Sequence after,
                                  std::size_t limit) const override {
    return store_.history(p, a, after, limit);
  }
  bool begins(PartitionId p, const ActorKey& a, Sequence first) const override {
    return store_.begins(p, a, first);
  }
  std::vector<ActorKey> with_pending(PartitionId p) const override {
    return store_.with_pending(p);
  }
  std::vector<ActorKey> list(PartitionId p, std::string_view tenant, std::string_view type,
                             const ActorKey* after, std::size_t limit) const override {
    return store_.list(p, tenant, type, after, limit);
  }
  Status each_snapshot(PartitionId p, const OnSnapshot& visit) const override {
    return store_.each_snapshot(p, visit);
  }
  Result<std::size_t> drop_snapshots(std::string_view tenant, const ActorKey* only) override {
    if (!life_->enter()) return fail(Code::kIo, "simulated: the process is dead");
    return store_.drop_snapshots(tenant, only);
  }
  Status write(PartitionId p, const Batch& batch) override {
    if (!life_->enter()) return fail(Code::kIo, "simulated: the process is dead");
    return store_.write(p, batch);
  }
  Status drop(PartitionId p) override {
    if (!life_->enter()) return fail(Code::kIo, "simulated: the process is dead");
    return store_.drop(p);
  }
  Status drop_all() override { return life_->alive ? store_.drop_all() : Status{}; }
  void expire_dedupe(std::int64_t before_ms) override {
    if (life_->alive) store_.expire_dedupe(before_ms);
  }

 private:
  std::shared_ptr<Life> life_;
  SimStore& store_;
};

}  // namespace

std::unique_ptr<runtime::StateStore> make_store_face(std::shared_ptr<Life> life, SimStore& store) {
  return std::make_unique<Face>(std::move(life), store);
}

}  // namespace soma::sim
