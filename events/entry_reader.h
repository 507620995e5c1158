// Single actors' entries out of stored frames.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

#include "events/log.h"
#include "soma/v1/frame.pb.h"

namespace soma::events {

// Reads an actor's entries without decoding or opening what else a record holds, often a hundred
// times as much. Actors that are read back together lie in the same records, so where entries lie
// is kept: of half a million entries at most, 8 MiB; what came first goes first. Thread-safe; the
// log outlives it.
class EntryReader {
 public:
  explicit EntryReader(const Log& log) : log_(log) {}

  // The actor's entries in the record at a position known to be valid, in order, opened by the
  // log's sealer. kNotFound, kCorrupt with the position.
  Result<std::vector<v1::Entry>> read(Position position, const ActorKey& actor) const;

 private:
  struct Place {
    std::size_t actor;       // its hash
    std::uint32_t at, size;  // of the entry, in the record's bytes
  };
  using Index = std::vector<Place>;  // by actor; an actor's entries in order

  Result<std::vector<v1::Entry>> take(std::string_view record, const Index& index,
                                      const ActorKey& actor) const;
  std::shared_ptr<const Index> kept(Position at) const;
  void keep(Position at, std::shared_ptr<const Index> index) const;
  static std::optional<Index> index_of(std::string_view record);

  const Log& log_;
  mutable std::mutex mutex_;
  mutable std::map<Position, std::shared_ptr<const Index>> kept_;
  mutable std::deque<Position> age_;
  mutable std::size_t places_ = 0;
};

}  // namespace soma::events
