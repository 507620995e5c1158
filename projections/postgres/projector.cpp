// The projector thread and the queries.
#include <openssl/evp.h>

#include <atomic>
#include <charconv>
#include <condition_variable>
#include <map>
#include <mutex>
#include <pqxx/pqxx>
#include <thread>

#include "projections/postgres/private_cluster.h"
#include "projections/projections.h"
#include "projections/views/rows.h"
#include "projections/views/schema.h"
#include "schemas/base/sha256.h"

namespace soma::projections {

namespace {

using namespace std::chrono_literals;
constexpr std::size_t kBatchBytes = 4 << 20;

struct Cursor {
  Offset next;
  events::Fence fence;
};

void write_rows(pqxx::work& tx, const Rows& rows) {
  for (const auto& e : rows.session_events)
    tx.exec_params(
        "INSERT INTO session_events VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10::jsonb) ON CONFLICT DO "
        "NOTHING",
        e.tenant, e.session_id, static_cast<std::int64_t>(e.sequence), e.event_id, e.type,
        e.time_ms, e.position, e.principal, e.correlation_id, e.data_json);
  for (const auto& c : rows.sessions)
    tx.exec_params(
        "INSERT INTO sessions (tenant_id, session_id, user_id, status, model, created_ms, "
        "updated_ms, turns) "
        "VALUES "
        "($1,$2,coalesce($3,''),coalesce($4,'accepted'),coalesce($5,''),coalesce($6::bigint,0),$7,"
        "coalesce("
        "$8::bigint,0)) "
        "ON CONFLICT (tenant_id, session_id) DO UPDATE SET user_id=coalesce($3,sessions.user_id), "
        "status=coalesce($4,sessions.status), "
        "model=coalesce($5,sessions.model), created_ms=coalesce($6::bigint,sessions.created_ms), "
        "updated_ms=$7, turns=coalesce($8::bigint,sessions.turns)",
        c.tenant, c.session_id, c.user, c.status, c.model, c.created_ms, c.updated_ms, c.turns);
  for (const auto& d : rows.decisions)
    tx.exec_params(
        "INSERT INTO decisions VALUES ($1,$2,$3,$4,$5,$6,$7,$8::jsonb,$9) ON CONFLICT DO NOTHING",
        d.tenant, d.decision_id, d.actor, d.action_id, d.allow, d.score, d.threshold,
        d.reasons_json, d.time_ms);
  for (const auto& u : rows.usage)
    tx.exec_params("INSERT INTO usage VALUES ($1,$2,$3,$4,$5,$6,$7) ON CONFLICT DO NOTHING",
                   u.tenant, u.call_id, u.actor, u.model, u.prompt_tokens, u.completion_tokens,
                   u.time_ms);
}

class Projector final : public Projections {
 public:
  Projector(const events::Log& log, Options o) : log_(log), options_(std::move(o)) {}

  Status open() {
    url_ = options_.postgres_url;
    if (url_.empty()) {
      auto cluster = PrivateCluster::start(options_.data_dir);
      if (!cluster) return tl::unexpected(cluster.error());
      cluster_ = std::move(*cluster);
      url_ = cluster_->url();
    }
    follower_ = const_cast<events::Log&>(log_).follow([this](PartitionId) { wake(); });
    thread_ = std::thread([this] { run(); });
    return {};
  }

  ~Projector() override {
    if (follower_) const_cast<events::Log&>(log_).unfollow(follower_);
    stopping_ = true;
    wake();
    if (thread_.joinable()) thread_.join();
  }

  Result<SessionPage> list_sessions(const std::string& tenant, const std::string& status,
                                    std::size_t limit, const std::string& cursor) override {
    std::int64_t before_ms = INT64_MAX;
    std::string before_id = "\x7f";
    if (!cursor.empty()) {
      const auto dot = cursor.find('.');
      const char* end = cursor.data() + std::min(dot, cursor.size());
      if (dot == std::string::npos || std::from_chars(cursor.data(), end, before_ms).ptr != end)
        return fail(Code::kInvalidArgument, "cursor must be a next_cursor that this list gave",
                    "query.cursor");
      before_id = cursor.substr(dot + 1);
    }
    return query<SessionPage>([&](pqxx::work& tx) {
      SessionPage page;
      auto rows = tx.exec_params(
          "SELECT session_id, user_id, status, model, created_ms, updated_ms, turns FROM sessions "
          "WHERE tenant_id=$1 "
          "AND ($2='' OR status=$2) AND (created_ms, session_id) < ($3,$4) ORDER BY created_ms "
          "DESC, session_id DESC LIMIT $5",
          tenant, status, before_ms, before_id, static_cast<std::int64_t>(limit));
      for (const auto& r : rows)
        page.items.push_back({r[0].as<std::string>(), r[1].as<std::string>(),
                              r[2].as<std::string>(), r[3].as<std::string>(),
                              r[4].as<std::int64_t>(), r[5].as<std::int64_t>(),
                              r[6].as<std::int64_t>()});
      if (page.items.size() == limit)
        page.next_cursor =
            std::to_string(page.items.back().created_ms) + "." + page.items.back().session_id;
      return page;
    });
  }

  bool wait_for(Position position, std::int64_t timeout_ms) override {
    std::unique_lock lock(mutex_);
    return moved_.wait_for(lock, std::chrono::milliseconds(timeout_ms), [&] {
      auto it = reached_.find(position.partition);
      return it != reached_.end() && it->second > position.offset;
    });
  }

  std::uint64_t lag() const override {
    std::lock_guard lock(mutex_);
    std::uint64_t lag = 0;
    for (std::uint32_t p = 0; p < log_.partition_count(); ++p) {
      auto it = reached_.find(PartitionId{p});
      lag += log_.end(PartitionId{p}).value - (it == reached_.end() ? 0 : it->second.value);
    }
    return lag;
  }

  Status health() const override {
    std::lock_guard lock(mutex_);
    return problem_.empty() ? Status{} : fail(Code::kUnavailable, problem_);
  }

  Status rebuild() override {
    std::unique_lock lock(mutex_);
    rebuild_wanted_ = true;
    lock.unlock();
    wake();
    lock.lock();
    const bool done = moved_.wait_for(lock, 10min, [&] { return !rebuild_wanted_ || stopping_; });
    return done && !stopping_ ? Status{} : fail(Code::kUnavailable, "the rebuild did not end");
  }

  Result<std::string> digest() override {
    return query<std::string>([](pqxx::work& tx) {
      std::string all;
      for (const char* table : kTables) {
        auto rows = tx.exec(std::string("SELECT md5(coalesce(string_agg(md5(t::text), '' ORDER BY "
                                        "md5(t::text)), '')) FROM ") +
                            table + " t");
        all += std::string(table) + "=" + rows[0][0].as<std::string>() + "\n";
      }
      return sha256_hex(all);
    });
  }

 private:
  template <typename T, typename F>
  Result<T> query(F f) {
    std::lock_guard lock(reader_mutex_);
    try {
      if (!reader_ || !reader_->is_open()) reader_ = std::make_unique<pqxx::connection>(url_);
      pqxx::work tx(*reader_);
      return f(tx);
    } catch (const std::exception&) {
      reader_.reset();
      return fail(Code::kUnavailable,
                  "the views' database cannot be reached; commands go on, lists come back with it");
    }
  }

  void wake() {
    std::lock_guard lock(mutex_);
    work_ = true;
    changed_.notify_all();
  }

  void run() {
    auto back_off = 100ms;
    while (!stopping_) {
      try {
        pqxx::connection connection(url_);
        set_problem({});
        back_off = 100ms;
        follow(connection);
      } catch (const std::exception& e) {
        set_problem(std::string("Postgres: ") + e.what());
      }
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, back_off, [&] { return stopping_.load(); });
      back_off = std::min(back_off * 2, std::chrono::milliseconds(5000));
    }
  }

  void set_problem(std::string problem) {
    std::lock_guard lock(mutex_);
    problem_ = std::move(problem);
  }

  // Whatever the fate of the last commit was: the cursor in the database says where to go on.
  void follow(pqxx::connection& connection) {
    {
      pqxx::work tx(connection);
      tx.exec("SET client_min_messages = warning");
      tx.exec(kSchema);
      tx.commit();
    }
    auto cursors = load(connection);
    while (!stopping_) {
      bool wanted;
      {
        std::lock_guard lock(mutex_);
        wanted = rebuild_wanted_;
        work_ = false;
      }
      if (wanted) {
        clear(connection);
        cursors.clear();
      }
      bool moved = false;
      for (std::uint32_t p = 0; p < log_.partition_count() && !stopping_; ++p)
        moved |= step(connection, PartitionId{p}, cursors[p]);
      if (moved) continue;
      std::unique_lock lock(mutex_);
      if (wanted) {
        rebuild_wanted_ = false;
        moved_.notify_all();
      }
      changed_.wait_for(lock, 500ms, [&] { return work_ || stopping_; });
    }
  }

  std::map<std::uint32_t, Cursor> load(pqxx::connection& connection) {
    std::map<std::uint32_t, Cursor> cursors;
    pqxx::work tx(connection);
    for (const auto& r : tx.exec("SELECT partition, next_offset, epoch, number, encode(head, "
                                 "'hex') FROM projection_cursor")) {
      const std::string hex_head = r[4].as<std::string>();
      std::string head;
      for (std::size_t i = 0; i + 1 < hex_head.size(); i += 2)
        head.push_back(static_cast<char>(std::stoi(hex_head.substr(i, 2), nullptr, 16)));
      const auto next = static_cast<std::uint64_t>(r[1].as<std::int64_t>());
      cursors[r[0].as<std::uint32_t>()] = {
          Offset{next},
          events::Fence(Epoch{static_cast<std::uint64_t>(r[2].as<std::int64_t>())},
                        FrameNumber{static_cast<std::uint64_t>(r[3].as<std::int64_t>())}, head)};
      reach(PartitionId{r[0].as<std::uint32_t>()}, Offset{next});
    }
    return cursors;
  }

  void clear(pqxx::connection& connection) {
    pqxx::work tx(connection);
    tx.exec("TRUNCATE sessions, session_events, decisions, usage, projection_cursor");
    tx.commit();
  }

  void reach(PartitionId partition, Offset next) {
    std::lock_guard lock(mutex_);
    reached_[partition] = next;
    moved_.notify_all();
  }

  // One batch of one partition: rows and cursor in one transaction.
  bool step(pqxx::connection& connection, PartitionId partition, Cursor& cursor) {
    if (log_.end(partition) <= cursor.next) return false;
    events::FrameReader reader(log_, partition, cursor.fence, cursor.next);
    auto frames = reader.next(kBatchBytes);
    if (!frames) throw std::runtime_error(frames.error().message);
    if (reader.next_offset() == cursor.next) return false;
    Rows rows;
    for (const auto& frame : *frames) rows_of(frame, rows);
    pqxx::work tx(connection);
    write_rows(tx, rows);
    const auto& fence = reader.fence();
    tx.exec_params(
        "INSERT INTO projection_cursor VALUES ($1,$2,$3,$4,decode($5,'hex')) ON CONFLICT "
        "(partition) DO UPDATE SET "
        "next_offset=$2, epoch=$3, number=$4, head=decode($5,'hex')",
        static_cast<int>(partition.value), static_cast<std::int64_t>(reader.next_offset().value),
        static_cast<std::int64_t>(fence.epoch().value),
        static_cast<std::int64_t>(fence.last_number().value), hex(fence.head()));
    tx.commit();
    cursor = {reader.next_offset(), fence};
    reach(partition, cursor.next);
    return true;
  }

  const events::Log& log_;
  const Options options_;
  std::unique_ptr<PrivateCluster> cluster_;
  std::string url_;
  std::uint64_t follower_ = 0;

  mutable std::mutex mutex_;
  std::condition_variable changed_, moved_;
  bool work_ = false, rebuild_wanted_ = false;
  std::atomic<bool> stopping_{false};
  std::string problem_ = "not connected yet";
  std::map<PartitionId, Offset> reached_;
  std::mutex reader_mutex_;
  std::unique_ptr<pqxx::connection> reader_;
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<Projections>> Projections::start(const events::Log& log, Options options) {
  auto projector = std::make_unique<Projector>(log, std::move(options));
  if (auto ok = projector->open(); !ok) return tl::unexpected(ok.error());
  return std::unique_ptr<Projections>(std::move(projector));
}

}  // namespace soma::projections
