// Where the records of a full segment stand, kept beside it in NAME.idx: with it a start need not
// read the segment.
//
// Written once, from bytes that were read back and checked. Never the truth: an index that is
// absent or does not check is made again from its segment.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "events/embedded/scan.h"

namespace soma::events {

struct SealedIndex {
  LogState before;                      // of the log up to the segment's first byte
  std::uint64_t segment = 0, size = 0;  // the file's number and bytes
  std::uint64_t last_round = 0;
  std::vector<ScannedRecord> records;  // in file order

  LogState after() const;
};

std::string sealed_index_path(const std::string& folder, std::uint64_t segment);

std::string encode_sealed_index(const SealedIndex& index);
// Nothing when a byte of it does not check.
std::optional<SealedIndex> decode_sealed_index(std::string_view bytes);

// Also nothing when the segment beside it is absent, or another one than it was made from.
std::optional<SealedIndex> read_sealed_index(const std::string& folder, std::uint64_t segment);

// Appears whole or not at all. kIo, kStorageFull: the next start reads the segment instead.
Status write_sealed_index(const std::string& folder, const SealedIndex& index);

}  // namespace soma::events
