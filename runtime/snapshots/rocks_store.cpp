// Keys: partition (big-endian), table, then the row's own key. Batches are atomic over all tables.
#include "runtime/snapshots/rocks_store.h"

#include <rocksdb/cache.h>
#include <rocksdb/compaction_filter.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <mutex>
#include <shared_mutex>

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

// Dedupe rows leave with the compaction that meets them first; finding them by a scan would read
// the whole database each hour.
class DedupeFilter final : public rocksdb::CompactionFilter {
 public:
  bool Filter(int, const rocksdb::Slice& key, const rocksdb::Slice& value, std::string*,
              bool*) const override {
    if (key.size() < 5 || key[4] != kDedupe) return false;
    const auto row = decode_dedupe(value.ToStringView());
    return !row || row->at_ms < before_ms;
  }
  const char* Name() const override { return "soma.dedupe"; }
  std::atomic<std::int64_t> before_ms{0};
};

constexpr int kCacheShardBits = 2;  // few threads read; in many shards little room is none

rocksdb::Options options(const DedupeFilter& filter, rocksdb::Env* env) {
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
  o.compaction_filter = &filter;
  o.periodic_compaction_seconds = 12 * 3600;  // so that the filter meets every row in time
  rocksdb::BlockBasedTableOptions t;
  t.block_cache = rocksdb::NewLRUCache(16 << 20, kCacheShardBits);
  t.cache_index_and_filter_blocks = true;  // else their memory grows with the data
  // In pieces, of which a look-up needs one: a file's whole filter is 100 KB and more, and was read
  // anew for most actors once the files outgrew the cache.
  t.index_type = rocksdb::BlockBasedTableOptions::kTwoLevelIndexSearch;
  t.partition_filters = true;
  t.pin_l0_filter_and_index_blocks_in_cache = true;
  t.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  o.table_factory.reset(rocksdb::NewBlockBasedTableFactory(t));
  return o;
}

// Without a WAL, what is flushed is what a crash leaves: so much of the log is read again.
constexpr auto kFlushEvery = std::chrono::seconds(30);
constexpr std::size_t kFlushRows = 100'000;

class Store final : public StateStore {
 public:
  Store(std::string folder, bool read_only) : folder_(std::move(folder)), read_only_(read_only) {}

  // Without a WAL what is in memory tables would be read from the log again; closing cleanly saves
  // that.
  ~Store() override {
    if (db_ && !read_only_) db_->Flush(rocksdb::FlushOptions());
  }

  // True when what was there could not be read, and was set aside.
  Result<bool> open() {
    std::error_code error;
    std::filesystem::create_directories(folder_, error);
    auto status = open_db();
    if (status.IsNoSpace())
      return fail(Code::kStorageFull, "no space for the snapshot store " + folder_);
    const bool damaged = !status.ok();
    if (damaged) {  // a cache: the log rebuilds it
      set_aside();
      status = open_db();
    }
    if (status.ok()) return damaged;
    return fail(Code::kIo, "cannot open the snapshot store " + folder_ + ": " + status.ToString());
  }

  // A running node may delete files meanwhile, so all are held from the start.
  Status open_readonly() {
    constexpr int kTries = 5;
    auto o = options(filter_, env_.get());
    o.create_if_missing = false;
    o.max_open_files = -1;
    rocksdb::Status status;
    for (int i = 0; i < kTries; ++i) {  // a file named by the manifest may be gone already
      rocksdb::DB* db = nullptr;
      status = rocksdb::DB::OpenForReadOnly(o, folder_, &db);
      db_.reset(db);
      if (status.ok()) return {};
    }
    return fail(status.IsCorruption() ? Code::kCorrupt : Code::kIo,
                "cannot read the snapshot store " + folder_ + ": " + status.ToString());
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
    auto row = bytes ? decode_dedupe(*bytes) : std::nullopt;
    return row && row->at_ms >= filter_.before_ms ? row : std::nullopt;
  }

  std::vector<HistoryRow> history(PartitionId p, const ActorKey& actor, Sequence after,
                                  std::size_t limit) const override {
    std::string prefix = table(p, kHistory);
    put_actor(prefix, actor);
    std::string from = prefix;
    put_be(from, after.value + 1, 8);
    std::vector<HistoryRow> out;
    // Each actor's first row begins at 1. A new actor has none, and a filter tells that without the
    // iterator, which is dear.
    if (after.value == 0) {
      const auto first = get(from);
      if (!first) return out;
      if (limit == 1) return {{actor, Sequence{1}, Offset{get_be(*first)}}};
    }
    iterate([&](rocksdb::Iterator& it) {
      it.SeekForPrev(from);  // the row that holds after + 1 begins at or before it
      if (!it.Valid() || !it.key().starts_with(prefix)) it.Seek(prefix);
      for (; it.Valid() && it.key().starts_with(prefix) && out.size() < limit; it.Next())
        out.push_back({actor, Sequence{get_be(it.key().ToStringView().substr(prefix.size()))},
                       Offset{get_be(it.value().ToStringView())}});
    });
    return out;
  }

  bool begins(PartitionId p, const ActorKey& actor, Sequence first) const override {
    std::string key = table(p, kHistory);
    put_actor(key, actor);
    put_be(key, first.value, 8);
    return get(key).has_value();
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
    iterate([&](rocksdb::Iterator& it) {
      for (it.Seek(std::max(prefix, from));
           it.Valid() && it.key().starts_with(prefix) && out.size() < limit; it.Next())
        if (auto actor = get_actor(it.key().ToStringView().substr(actor_at)))
          out.push_back(std::move(*actor));
    });
    return out;
  }

  Status each_snapshot(PartitionId p, const OnSnapshot& visit) const override {
    const std::string prefix = table(p, kSnapshots);
    std::shared_lock lock(mutex_);
    if (!db_) return fail(Code::kIo, "the snapshot store cannot be opened");
    const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator({}));
    for (it->Seek(prefix); it->Valid() && it->key().starts_with(prefix); it->Next()) {
      auto actor = get_actor(it->key().ToStringView().substr(prefix.size()));
      if (!actor) return fail(Code::kCorrupt, "snapshot store: a key that names no actor");
      auto snapshot = decode_snapshot(it->value().ToStringView());
      if (snapshot && !(snapshot->actor == *actor)) snapshot.reset();
      if (snapshot) *actor = snapshot->actor;  // with its affinity
      visit(*actor, std::move(snapshot));
    }
    if (it->status().ok()) return {};
    return fail(it->status().IsCorruption() ? Code::kCorrupt : Code::kIo,
                "snapshot store: " + it->status().ToString());
  }

  Result<std::size_t> drop_snapshots(std::string_view tenant, const ActorKey* only) override {
    std::vector<std::string> keys;
    iterate([&](rocksdb::Iterator& it) {
      for (it.SeekToFirst(); it.Valid(); it.Next()) {
        if (it.key().size() < 5 || it.key()[4] != kSnapshots) continue;
        const auto actor = get_actor(it.key().ToStringView().substr(5));
        if (actor && (only ? *actor == *only : actor->tenant == tenant))
          keys.push_back(it.key().ToString());
      }
    });
    std::shared_lock lock(mutex_);
    if (!db_) return fail(Code::kIo, "the snapshot store cannot be opened");
    for (const auto& key : keys)
      if (auto s = db_->Delete(unlogged(), key); !s.ok())
        return fail(Code::kIo, "snapshot store: " + s.ToString());
    return keys.size();
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
    std::shared_lock lock(mutex_);
    if (batch.generation != generation_)
      return fail(Code::kUnavailable, "the snapshot store began anew meanwhile");
    if (!db_) return fail(Code::kIo, "the snapshot store cannot be opened");
    auto s = db_->Write(unlogged(), &rows);
    if (!s.ok() && db_->Resume().ok())
      s = db_->Write(unlogged(), &rows);  // it was full, and is not
    if (s.IsNoSpace()) return fail(Code::kStorageFull, "snapshot store: " + s.ToString());
    if (!s.ok()) return fail(Code::kIo, "snapshot store: " + s.ToString());
    maybe_flush(static_cast<std::size_t>(rows.Count()));
    return {};
  }

  Status drop_all() override {
    std::unique_lock lock(mutex_);
    ++generation_;
    db_.reset();
    rocksdb::DestroyDB(folder_, options(filter_, env_.get()));
    auto s = open_db();
    return s.ok() ? Status{} : fail(Code::kIo, "snapshot store: " + s.ToString());
  }

  Status drop(PartitionId p) override {
    std::string from, to;
    put_be(from, p.value, 4);
    put_be(to, p.value + 1ULL, 4);
    bool some = false;
    iterate([&](rocksdb::Iterator& it) {
      it.Seek(from);
      some = it.Valid() && it.key().starts_with(from);
    });
    if (!some) return {};  // a deletion of nothing would slow down every later read
    std::shared_lock lock(mutex_);
    if (!db_) return fail(Code::kIo, "the snapshot store cannot be opened");
    auto s = db_->DeleteRange(unlogged(), db_->DefaultColumnFamily(), from, to);
    return s.ok() ? Status{} : fail(Code::kIo, "snapshot store: " + s.ToString());
  }

  std::uint64_t generation() const override { return generation_; }

  void expire_dedupe(std::int64_t before_ms) override { filter_.before_ms = before_ms; }

  void compact() {
    std::shared_lock lock(mutex_);
    if (!db_) return;
    db_->Flush(rocksdb::FlushOptions());
    db_->CompactRange({}, nullptr, nullptr);
  }

 private:
  // One memory table for all keys, so what a crash loses is a suffix of batches.
  static rocksdb::WriteOptions unlogged() {
    rocksdb::WriteOptions o;
    o.disableWAL = true;
    return o;
  }

  rocksdb::Status open_db() const {
    rocksdb::DB* db = nullptr;
    auto status = rocksdb::DB::Open(options(filter_, env_.get()), folder_, &db);
    db_.reset(db);
    return status;
  }

  void set_aside() const {
    std::error_code ignored;
    std::filesystem::remove_all(folder_ + ".damaged", ignored);
    std::filesystem::rename(folder_, folder_ + ".damaged", ignored);
    std::filesystem::create_directories(folder_, ignored);
  }

  // A read met damage: nothing that the database says, or does not say, counts any more.
  void lost(std::uint64_t seen, const rocksdb::Status& why) const {
    std::unique_lock lock(mutex_);
    if (generation_ != seen) return;
    log_error("snapshot_store_damaged", {{"reason", why.ToString()}, {"folder", folder_}});
    ++generation_;  // first: whoever sees the new database also sees that it is another
    db_.reset();
    set_aside();
    if (auto status = open_db(); !status.ok())
      log_error("snapshot_store_cannot_be_opened", {{"reason", status.ToString()}});
  }

  void maybe_flush(std::size_t rows) {
    const auto now = std::chrono::steady_clock::now();
    {
      std::lock_guard lock(flush_mutex_);
      unflushed_ += rows;
      if (unflushed_ < kFlushRows && now - flushed_at_ < kFlushEvery) return;
      unflushed_ = 0;
      flushed_at_ = now;
    }
    rocksdb::FlushOptions o;
    o.wait = false;
    db_->Flush(o);
  }

  std::optional<std::string> get(const std::string& key) const {
    std::string value;
    std::uint64_t seen = 0;
    rocksdb::Status status;
    {
      std::shared_lock lock(mutex_);
      if (!db_) return {};
      seen = generation_;
      status = db_->Get({}, key, &value);
    }
    if (status.ok()) return value;
    if (!status.IsNotFound()) lost(seen, status);
    return {};
  }

  template <typename F>
  void iterate(const F& visit) const {
    std::uint64_t seen = 0;
    rocksdb::Status status;
    {
      std::shared_lock lock(mutex_);
      if (!db_) return;
      seen = generation_;
      const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator({}));
      visit(*it);
      status = it->status();
    }
    if (!status.ok()) lost(seen, status);
  }

  std::vector<ActorKey> actors_under(const std::string& prefix) const {
    std::vector<ActorKey> out;
    iterate([&](rocksdb::Iterator& it) {
      for (it.Seek(prefix); it.Valid() && it.key().starts_with(prefix); it.Next())
        if (auto s = decode_snapshot(it.value().ToStringView())) out.push_back(std::move(s->actor));
    });
    return out;
  }

  const std::string folder_;
  const bool read_only_;
  const std::unique_ptr<rocksdb::Env> env_ = make_reserving_env();  // outlives the database
  DedupeFilter filter_;
  mutable std::shared_mutex mutex_;  // exclusive while the database is exchanged
  mutable std::atomic<std::uint64_t> generation_{0};
  mutable std::unique_ptr<rocksdb::DB> db_;
  std::mutex flush_mutex_;
  std::size_t unflushed_ = 0;
  std::chrono::steady_clock::time_point flushed_at_ = std::chrono::steady_clock::now();
};

}  // namespace

Result<RocksStore> open_rocks_store(const std::string& folder) {
  auto store = std::make_unique<Store>(folder, false);
  auto opened = store->open();
  if (!opened) return tl::unexpected(opened.error());
  RocksStore out;
  out.recreated = *opened;
  out.compact = [s = store.get()] { s->compact(); };
  out.store = std::move(store);
  return out;
}

Result<std::unique_ptr<StateStore>> open_rocks_store_readonly(const std::string& folder) {
  if (!std::filesystem::exists(folder + "/CURRENT"))
    return fail(Code::kNotFound, "no snapshot store in " + folder);
  auto store = std::make_unique<Store>(folder, true);
  if (auto ok = store->open_readonly(); !ok) return tl::unexpected(ok.error());
  return std::unique_ptr<StateStore>(std::move(store));
}

}  // namespace soma::runtime
