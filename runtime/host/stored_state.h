// What the store has of a partition, as far as the log bears it out; and an actor read back from
// it.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "events/bookmark.h"
#include "events/entry_reader.h"
#include "runtime/host/entity.h"
#include "runtime/host/ports.h"

namespace soma::runtime {

events::Bookmark bookmark_of(const StateStore::Checkpoint& checkpoint);

// The store's checkpoint, if the log bears it out. Without one nothing in the store counts, and the
// partition's rows are dropped. kCorrupt: the log ends before it.
Result<std::optional<StateStore::Checkpoint>> usable_checkpoint(const events::Log& log,
                                                                StateStore& store, PartitionId id);

// Snapshot, then what the store's history and `tail` name, folded from the log. An entity that
// cannot be restored is `broken`. `read` counts the frames.
void load_entity(Entity& entity, PartitionId id, const events::EntryReader& entries,
                 const StateStore& store, const std::vector<StateStore::HistoryRow>& tail,
                 std::atomic<std::uint64_t>* read = nullptr);

}  // namespace soma::runtime
