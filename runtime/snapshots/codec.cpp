// A row is SHA-256 of its body, then the body.
#include "runtime/snapshots/codec.h"

#include "schemas/base/sha256.h"
#include "soma/v1/store.pb.h"

namespace soma::runtime {

namespace {

constexpr std::uint32_t kFormat = 1;
constexpr std::size_t kDigestBytes = 32;

std::string seal(const std::string& body) { return sha256(body) + body; }

template <typename Row>
bool open(std::string_view bytes, Row& row) {
  if (bytes.size() < kDigestBytes) return false;
  const std::string_view body = bytes.substr(kDigestBytes);
  return sha256(body) == bytes.substr(0, kDigestBytes) &&
         row.ParseFromArray(body.data(), static_cast<int>(body.size()));
}

}  // namespace

bool StateStore::store_order(const ActorKey& a, const ActorKey& b) {
  for (auto part : {&ActorKey::tenant, &ActorKey::type, &ActorKey::id}) {
    if ((a.*part).size() != (b.*part).size()) return (a.*part).size() < (b.*part).size();
    if (const int c = (a.*part).compare(b.*part); c != 0) return c < 0;
  }
  return false;
}

std::string encode_snapshot(const StateStore::Snapshot& s) {
  v1::StoredSnapshot row;
  row.set_format(kFormat);
  *row.mutable_actor() = actors::to_ref(s.actor);
  row.set_sequence(s.sequence.value);
  row.set_offset(s.offset.value);
  row.set_schema_hash(s.schema_hash);
  row.set_state(s.state);
  row.set_pending(s.pending);
  return seal(row.SerializeAsString());
}

std::optional<StateStore::Snapshot> decode_snapshot(std::string_view bytes) {
  v1::StoredSnapshot row;
  if (!open(bytes, row) || row.format() != kFormat) return {};
  return StateStore::Snapshot{actors::to_key(row.actor()),
                              Sequence{row.sequence()},
                              Offset{row.offset()},
                              row.schema_hash(),
                              row.state(),
                              row.pending()};
}

std::string encode_checkpoint(const StateStore::Checkpoint& c) {
  v1::StoredCheckpoint row;
  row.set_format(kFormat);
  row.set_next(c.next.value);
  row.set_epoch(c.epoch.value);
  row.set_number(c.number.value);
  row.set_head(c.head);
  row.set_extra(c.extra);
  row.set_last(c.last.value);
  row.set_last_hash(c.last_hash);
  return seal(row.SerializeAsString());
}

std::optional<StateStore::Checkpoint> decode_checkpoint(std::string_view bytes) {
  v1::StoredCheckpoint row;
  if (!open(bytes, row) || row.format() != kFormat) return {};
  return StateStore::Checkpoint{Offset{row.next()}, Epoch{row.epoch()}, FrameNumber{row.number()},
                                row.head(),         row.extra(),        Offset{row.last()},
                                row.last_hash()};
}

std::string encode_dedupe(const StateStore::DedupeRow& d) {
  v1::StoredDedupe row;
  row.set_command_id(d.command_id);
  row.set_request_hash(d.request_hash);
  *row.mutable_actor() = actors::to_ref(d.actor);
  row.set_partition(d.position.partition.value);
  row.set_offset(d.position.offset.value);
  row.set_sequence(d.sequence.value);
  row.set_reply(d.reply);
  row.set_at_ms(d.at_ms);
  return row.SerializeAsString();  // RocksDB's block checksum guards it; digests cost too much per
                                   // command
}

std::optional<StateStore::DedupeRow> decode_dedupe(std::string_view bytes) {
  v1::StoredDedupe row;
  if (!row.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return {};
  return StateStore::DedupeRow{row.command_id(),
                               row.request_hash(),
                               actors::to_key(row.actor()),
                               {PartitionId{row.partition()}, Offset{row.offset()}},
                               Sequence{row.sequence()},
                               row.reply(),
                               row.at_ms()};
}

}  // namespace soma::runtime
