// A snapshot is where folding begins, never the last word.
#include "runtime/host/stored_state.h"

#include "runtime/telemetry/log.h"
#include "schemas/base/planted.h"

namespace soma::runtime {

events::Bookmark bookmark_of(const StateStore::Checkpoint& c) {
  return {c.next, events::Fence(c.epoch, c.number, c.head), c.last, c.last_hash};
}

Result<std::optional<StateStore::Checkpoint>> usable_checkpoint(const events::Log& log,
                                                                StateStore& store, PartitionId id) {
  auto checkpoint = store.checkpoint(id);
  if (checkpoint && checkpoint->next > log.end(id))
    return fail(Code::kCorrupt,
                "the log ends at " + std::to_string(log.end(id).value) +
                    ", before the snapshots' position " + std::to_string(checkpoint->next.value) +
                    ": it lost its tail or is another log; if that is known, remove the "
                    "snapshots folder");
  if (checkpoint) {
    auto ours = events::holds(log, id, bookmark_of(*checkpoint));
    if (!ours) return tl::unexpected(ours.error());
    if (!*ours) {
      log_warn("snapshots stem from another log; they are not used",
               {{"partition", id.value}, {"offset", checkpoint->next.value}});
      checkpoint.reset();
    }
  }
  if (!checkpoint)
    if (auto dropped = store.drop(id); !dropped) return tl::unexpected(dropped.error());
  return checkpoint;
}

void load_entity(Entity& entity, PartitionId id, const events::EntryReader& reader,
                 const StateStore& store, const std::vector<StateStore::HistoryRow>& tail,
                 std::atomic<std::uint64_t>* read) {
  entity.loaded = entity.asked = true;
  const auto& key = entity.key();
  auto snapshot = store.load(id, key);
  if (snapshot && snapshot->schema_hash == entity.type().schema_hash())
    if (auto ok = entity.restore(snapshot->sequence, snapshot->state); !ok) {
      entity.broken = true;
      entity.problem = ok.error().message;
      return;
    }
  std::optional<Offset> folded;  // an actor may have several rows in one frame
  auto fold = [&](const StateStore::HistoryRow& row) -> Status {
    if (std::exchange(folded, row.offset) == row.offset) return {};
    const Position at{id, row.offset};
    auto entries = reader.read(at, key);
    if (!entries) return tl::unexpected(entries.error());
    if (read) read->fetch_add(1, std::memory_order_relaxed);
    for (const auto& entry : *entries)
      for (const auto& event : entry.events())
        if (auto ok = entity.apply(event); !ok) return ok;
    if (entity.sequence() >= row.first) return {};
    return fail(Code::kCorrupt, to_string(key) + ": event " + std::to_string(row.first.value) +
                                    " is not at " + to_string(at));
  };
  Status status;
  for (bool more = store.begins(id, key, entity.sequence().next()); more && status;) {
    constexpr std::size_t kPage = 256;
    auto rows = store.history(id, key, entity.sequence(), kPage);
    const Sequence before = entity.sequence();
    for (const auto& row : rows)
      if (status && row.first > before) status = fold(row);
    more = rows.size() == kPage && entity.sequence() > before;
  }
  for (const auto& row : tail)
    if (status && !planted(Bug::kStaleSnapshotWins)) status = fold(row);
  if (!status) {
    entity.broken = true;
    entity.problem = status.error().message;
  }
}

}  // namespace soma::runtime
