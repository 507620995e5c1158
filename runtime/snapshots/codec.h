// The bytes of snapshots and rows: format, schema, digest; a mismatch reads as absent (I9).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "runtime/host/ports.h"

namespace soma::runtime {

std::string encode_snapshot(const StateStore::Snapshot& snapshot);
std::optional<StateStore::Snapshot> decode_snapshot(std::string_view bytes);
std::string encode_checkpoint(const StateStore::Checkpoint& checkpoint);
std::optional<StateStore::Checkpoint> decode_checkpoint(std::string_view bytes);
std::string encode_dedupe(const StateStore::DedupeRow& row);
std::optional<StateStore::DedupeRow> decode_dedupe(std::string_view bytes);

}  // namespace soma::runtime
