// Keys: partition (big-endian), table, then the row's own key. Batches are atomic over all tables.
#include "runtime/snapshots/rocks_store.h"

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <cstdio>
#include <filesystem>

#include "runtime/snapshots/codec.h"
#include "runtime/snapshots/reserving_files.h"
#include "runtime/telemetry/log.h"

namespace soma::runtime {

namespace {

constexpr char kSnapshots = 's', kPending = 'p', kHistory = 'h', kDedupe = 'd', kCheckpoint = 'c';

void put_be(std::string& out, std::uint64_t v, int bytes) {
  for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<char>(v >> (8 * i)));
}
std::uint64_t get_be(std::string_view in) {
  std::uint64_t v = 0;
  for (unsigned char c : in) v = v << 8 | c;
  return v;
}

std::string table(PartitionId p, char kind) {
  std::string key;
  put_be(key, p.value, 4);
  key.push_back(kind);
  return key;
}

// Lengths before the parts, so that no key is another's prefix by accident.
void put_actor(std::string& out, const ActorKey& a) {
  for (const std::string* part : {&a.tenant, &a.type, &a.id}) {
    put_be(out, part->size(), 2);
    out += *part;
  }
}

// The actor at the end of a key that put_actor wrote; nothing when it is no such key.
std::optional<ActorKey> get_actor(std::string_view in) {
  ActorKey a;
  for (std::string* part : {&a.tenant, &a.type, &a.id}) {
    if (in.size() < 2) return {};
    const std::size_t size = get_be(in.substr(0, 2));
    if (in.size() < 2 + size) return {};
    *part = in.substr(2, size);
    in.remove_prefix(2 + size);
  }
  return in.empty() ? std::optional(a) : std::nullopt;
}

// The beginning of all keys of a tenant, or of its actors of one type.
void put_prefix(std::string& out, std::string_view tenant, std::string_view type) {
  for (const auto part : {tenant, type}) {
    if (part.empty()) return;
    put_be(out, part.size(), 2);
    out += part;
  }
}

// RocksDB's own log file is written like its data: on a full disk it would abort the process.
class Messages final : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char*, va_list) override {}
  void Logv(const rocksdb::InfoLogLevel level, const char* format, va_list values) override {
    if (level < rocksdb::InfoLogLevel::ERROR_LEVEL || level > rocksdb::InfoLogLevel::FATAL_LEVEL)
      return;
    char text[512];
    std::vsnprintf(text, sizeof text, format, values);
    log_warn("snapshot store", {{"message", std::string(text)}});
  }
};

rocksdb::Options options(rocksdb::Env* env) {
  rocksdb::Options o;
  o.env = env;
  o.info_log = std::make_shared<Messages>();
  o.create_if_missing = true;
  o.write_buffer_size = 8 << 20;
  o.target_file_size_base = 8 << 20;  // what reserving_files.cpp has room for
  o.max_manifest_file_size = 512 << 10;
  o.max_write_buffer_number = 2;
  o.max_open_files = 128;
  o.max_background_jobs = 1;
  o.compression = rocksdb::kLZ4Compression;
  rocksdb::BlockBasedTableOptions t;
  t.block_cache = rocksdb::NewLRUCache(16 << 20);
  t.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  o.table_factory.reset(rocksdb::NewBlockBasedTableFactory(t));
  return o;
}

class Store final : public StateStore {
 public:
  Store(std::unique_ptr<rocksdb::Env> env, std::unique_ptr<rocksdb::DB> db, bool read_only)
      : env_(std::move(env)), db_(std::move(db)), read_only_(read_only) {}

  // Without a WAL what is in memory tables would be read from the log again; closing cleanly saves
  // that.
  ~Store() override {
    if (!read_only_) db_->Flush(rocksdb::FlushOptions());
  }

  std::optional<Snapshot> load(PartitionId p, const ActorKey& actor) const override {
    std::string key = table(p, kSnapshots);
    put_actor(key, actor);
    auto bytes = get(key);
    auto snapshot = bytes ? decode_snapshot(*bytes) : std::nullopt;
    return snapshot && snapshot->actor == actor ? snapshot : std::nullopt;
  }

  std::optional<Checkpoint> checkpoint(PartitionId p) const override {
    auto bytes = get(table(p, kCheckpoint));
    return bytes ? decode_checkpoint(*bytes) : std::nullopt;
  }

  std::optional<DedupeRow> dedupe(PartitionId p, std::string_view id) const override {
    auto bytes = get(table(p, kDedupe).append(id));
    return bytes ? decode_dedupe(*bytes) : std::nullopt;
  }

  std::vector<HistoryRow> history(PartitionId p, const ActorKey& actor, Sequence after,
                                  std::size_t limit) const override {
    std::string prefix = table(p, kHistory);
    put_actor(prefix, actor);
    std::string from = prefix;
    put_be(from, after.value + 1, 8);
    std::vector<HistoryRow> out;
    auto it = iterator();
    it->SeekForPrev(from);  // the row that holds after + 1 begins at or before it
    if (!it->Valid() || !it->key().starts_with(prefix)) it->Seek(prefix);
    for (; it->Valid() && it->key().starts_with(prefix) && out.size() < limit; it->Next())
      out.push_back({actor, Sequence{get_be(it->key().ToStringView().substr(prefix.size()))},
                     Offset{get_be(it->value().ToStringView())}});
    return out;
  }

  std::vector<ActorKey> with_pending(PartitionId p) const override {
    return actors_under(table(p, kPending));
  }

  std::vector<ActorKey> list(PartitionId p, std::string_view tenant, std::string_view type,
                             const ActorKey* after, std::size_t limit) const override {
    std::string prefix = table(p, kSnapshots), from = prefix;
    const std::size_t actor_at = prefix.size();
    put_prefix(prefix, tenant, type);
    if (after) {
      put_actor(from, *after);
      from.push_back('\0');
    }
    std::vector<ActorKey> out;
    auto it = iterator();
    for (it->Seek(std::max(prefix, from));
         it->Valid() && it->key().starts_with(prefix) && out.size() < limit; it->Next())
      if (auto actor = get_actor(it->key().ToStringView().substr(actor_at)))
        out.push_back(std::move(*actor));
    return out;
  }

  Status each_snapshot(PartitionId p, const OnSnapshot& visit) const override {
    const std::string prefix = table(p, kSnapshots);
    auto it = iterator();
    for (it->Seek(prefix); it->Valid() && it->key().starts_with(prefix); it->Next()) {
      auto actor = get_actor(it->key().ToStringView().substr(prefix.size()));
      if (!actor) return fail(Code::kCorrupt, "snapshot store: a key that names no actor");
      auto snapshot = decode_snapshot(it->value().ToStringView());
      if (snapshot && !(snapshot->actor == *actor)) snapshot.reset();
      if (snapshot) *actor = snapshot->actor;  // with its affinity
      visit(*actor, std::move(snapshot));
    }
    if (!it->status().ok())
      return fail(it->status().IsCorruption() ? Code::kCorrupt : Code::kIo,
                  "snapshot store: " + it->status().ToString());
    return {};
  }

  Result<std::size_t> drop_snapshots(std::string_view tenant, const ActorKey* only) override {
    std::size_t dropped = 0;
    rocksdb::WriteOptions o;
    o.disableWAL = true;
    auto it = iterator();
    for (it->SeekToFirst(); it->Valid(); it->Next()) {
      if (it->key().size() < 5 || it->key()[4] != kSnapshots) continue;
      const auto actor = get_actor(it->key().ToStringView().substr(5));
      if (!actor || (only ? !(*actor == *only) : actor->tenant != tenant)) continue;
      if (auto s = db_->Delete(o, it->key()); !s.ok())
        return fail(Code::kIo, "snapshot store: " + s.ToString());
      ++dropped;
    }
    return dropped;
  }

  Status write(PartitionId p, const Batch& batch) override {
    rocksdb::WriteBatch rows;
    for (const auto& s : batch.snapshots) {
      std::string key = table(p, kSnapshots), pending = table(p, kPending);
      put_actor(key, s.actor);
      put_actor(pending, s.actor);
      rows.Put(key, encode_snapshot(s));
      if (s.pending)
        rows.Put(pending, encode_snapshot({s.actor, s.sequence, s.offset, {}, {}, true}));
      else
        rows.Delete(pending);
    }
    for (const auto& d : batch.dedupe)
      rows.Put(table(p, kDedupe).append(d.command_id), encode_dedupe(d));
    for (const auto& h : batch.history) {
      std::string key = table(p, kHistory), value;
      put_actor(key, h.actor);
      put_be(key, h.first.value, 8);
      put_be(value, h.offset.value, 8);
      rows.Put(key, value);
    }
    if (batch.checkpoint) rows.Put(table(p, kCheckpoint), encode_checkpoint(*batch.checkpoint));
    rocksdb::WriteOptions o;
    o.disableWAL =
        true;  // one memory table for all keys, so what a crash loses is a suffix of batches
    auto s = db_->Write(o, &rows);
    if (!s.ok() && db_->Resume().ok()) s = db_->Write(o, &rows);  // the disk was full, and is not
    if (s.IsNoSpace()) return fail(Code::kStorageFull, "snapshot store: " + s.ToString());
    return s.ok() ? Status{} : fail(Code::kIo, "snapshot store: " + s.ToString());
  }

  Status drop_all() override {
    auto it = iterator();
    rocksdb::WriteOptions o;
    o.disableWAL = true;
    for (it->SeekToFirst(); it->Valid(); it->Next()) db_->Delete(o, it->key());
    db_->Flush(rocksdb::FlushOptions());
    return {};
  }

  void expire_dedupe(std::int64_t before_ms) override {
    rocksdb::WriteOptions o;
    o.disableWAL = true;
    auto it = iterator();
    for (it->SeekToFirst(); it->Valid(); it->Next()) {
      if (it->key().size() < 5 || it->key()[4] != kDedupe) continue;
      auto row = decode_dedupe(it->value().ToStringView());
      if (!row || row->at_ms < before_ms) db_->Delete(o, it->key());
    }
  }

 private:
  std::optional<std::string> get(const std::string& key) const {
    std::string value;
    return db_->Get({}, key, &value).ok() ? std::optional(std::move(value)) : std::nullopt;
  }
  std::unique_ptr<rocksdb::Iterator> iterator() const {
    return std::unique_ptr<rocksdb::Iterator>(db_->NewIterator({}));
  }
  std::vector<ActorKey> actors_under(const std::string& prefix) const {
    std::vector<ActorKey> out;
    auto it = iterator();
    for (it->Seek(prefix); it->Valid() && it->key().starts_with(prefix); it->Next())
      if (auto s = decode_snapshot(it->value().ToStringView())) out.push_back(std::move(s->actor));
    return out;
  }

  std::unique_ptr<rocksdb::Env> env_;  // outlives the database
  std::unique_ptr<rocksdb::DB> db_;
  const bool read_only_;
};

}  // namespace

Result<RocksStore> open_rocks_store(const std::string& folder) {
  namespace fs = std::filesystem;
  std::error_code error;
  fs::create_directories(folder, error);
  RocksStore out;
  auto env = make_reserving_env();
  rocksdb::DB* db = nullptr;
  auto status = rocksdb::DB::Open(options(env.get()), folder, &db);
  if (status.IsNoSpace())
    return fail(Code::kStorageFull, "no space for the snapshot store " + folder);
  if (!status.ok()) {  // a cache: set it aside and let the log rebuild it
    fs::remove_all(folder + ".damaged", error);
    fs::rename(folder, folder + ".damaged", error);
    out.recreated = true;
    status = rocksdb::DB::Open(options(env.get()), folder, &db);
  }
  if (!status.ok())
    return fail(Code::kIo, "cannot open the snapshot store " + folder + ": " + status.ToString());
  out.store = std::make_unique<Store>(std::move(env), std::unique_ptr<rocksdb::DB>(db), false);
  return out;
}

Result<std::unique_ptr<StateStore>> open_rocks_store_readonly(const std::string& folder) {
  if (!std::filesystem::exists(folder + "/CURRENT"))
    return fail(Code::kNotFound, "no snapshot store in " + folder);
  auto o = options();
  o.create_if_missing = false;
  o.max_open_files = -1;  // all files held from the start: a running node may delete some meanwhile
  constexpr int kTries = 5;
  rocksdb::Status status;
  for (int i = 0; i < kTries; ++i) {  // a file named by the manifest may be gone already
    rocksdb::DB* db = nullptr;
    status = rocksdb::DB::OpenForReadOnly(o, folder, &db);
    if (status.ok())
      return std::unique_ptr<StateStore>(
          std::make_unique<Store>(std::unique_ptr<rocksdb::DB>(db), true));
  }
  return fail(status.IsCorruption() ? Code::kCorrupt : Code::kIo,
              "cannot read the snapshot store " + folder + ": " + status.ToString());
}

}  // namespace soma::runtime
