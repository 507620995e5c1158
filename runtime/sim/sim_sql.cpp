// Statements, their undoing, and what befalls them.
#include "runtime/sim/sim_sql.h"

#include <array>
#include <optional>

namespace soma::sim {

using projections::Field;
using projections::Record;

namespace {

constexpr std::int64_t kStallUs = 30'000'000;
constexpr std::int64_t kLongestRestartUs = 2'000'000;

Error broken(const char* why) { return {Code::kUnavailable, why, {}}; }

std::string unescaped(std::string_view in) {
  std::string out;
  for (std::size_t i = 0; i < in.size(); ++i) {
    if (in[i] != '\\' || i + 1 == in.size()) {
      out.push_back(in[i]);
      continue;
    }
    static constexpr std::string_view kNames = "ntrbfv", kBytes = "\n\t\r\b\f\v";
    const auto at = kNames.find(in[++i]);
    out.push_back(at == std::string_view::npos ? in[i] : kBytes[at]);
  }
  return out;
}

Record fields_of(std::string_view line) {
  Record out;
  for (;;) {
    const auto tab = line.find('\t');
    const auto field = line.substr(0, tab);
    out.push_back(field == "\\N" ? Field() : unescaped(field));
    if (tab == std::string_view::npos) return out;
    line.remove_prefix(tab + 1);
  }
}

// {"a","b",NULL}
std::vector<Field> elements(const std::string& array) {
  std::vector<Field> out;
  for (std::size_t i = 1; i + 1 < array.size(); ++i) {  // at the comma, or behind the brace
    if (array[i] == ',') continue;
    if (array[i] != '"') {
      out.emplace_back();
      i += 3;  // NULL
      continue;
    }
    std::string text;
    for (++i; array[i] != '"'; ++i) {
      if (array[i] == '\\') ++i;
      text.push_back(array[i]);
    }
    out.emplace_back(std::move(text));
  }
  return out;
}

std::string key_of(const Record& row, std::size_t fields) {
  std::string out;
  for (std::size_t i = 0; i < fields; ++i) out += row[i].value_or("") + '\0';
  return out;
}

std::size_t key_columns(const std::string& table) {
  return table == "sessions" ? 2 : table == "actor_digests" ? 3 : 4;
}

void add(Field& to, const Field& n) { to = std::to_string(std::stoll(*to) + std::stoll(*n)); }
void exclusive_or(Field& to, const Field& n) {
  to = std::to_string(std::stoll(*to) ^ std::stoll(*n));
}

// ON CONFLICT DO UPDATE of `sessions`: what is not NULL replaces, tokens add up.
void merge_session(Record& row, const Record& excluded) {
  for (std::size_t i = 2; i < 10; ++i)
    if (excluded[i]) row[i] = excluded[i];
  for (std::size_t i = 10; i < 12; ++i) add(row[i], excluded[i]);
}

void merge_digest(Record& row, const Record& excluded) {
  add(row[3], excluded[3]);
  row[4] = excluded[4];
  exclusive_or(row[5], excluded[5]);
  exclusive_or(row[6], excluded[6]);
}

}  // namespace

class SimSql::Connection final : public projections::Db {
 public:
  Connection(SimSql& sql, std::shared_ptr<Life> life)
      : sql_(sql), life_(std::move(life)), id_(++sql.next_connection_) {
    sql_.connections_.emplace(id_, this);
  }
  ~Connection() override {
    cut();
    sql_.connections_.erase(id_);
  }

  Status run(const std::string& statement) override {
    if (auto ok = ready(); !ok) return ok;
    if (statement.starts_with("ROLLBACK TO ")) {
      undo_to(savepoints_.at(statement.substr(22)));
      failed_ = false;
      return {};
    }
    if (failed_) return aborted();
    if (statement == "BEGIN")
      savepoints_.clear();
    else if (statement.starts_with("SAVEPOINT "))
      savepoints_[statement.substr(10)] = undo_.size();
    else if (statement.starts_with("RELEASE "))
      savepoints_.erase(statement.substr(18));
    else if (statement == "COMMIT")
      return commit();
    else
      return not_known(statement);
    return {};
  }

  Result<std::vector<Record>> query(const std::string& statement, const Record& given) override {
    if (auto ok = ready(); !ok) return tl::unexpected(ok.error());
    if (failed_) return tl::unexpected(aborted().error());
    if (statement.starts_with("SELECT partition, ")) {
      std::vector<Record> rows;
      for (const auto& [key, row] : sql_.tables_["cursor"]) rows.push_back(row);
      return rows;
    }
    if (statement.starts_with("INSERT INTO cursor "))
      put("cursor", key_of(given, 1), given);
    else if (statement.starts_with("INSERT INTO sessions "))
      merge("sessions", given, merge_session);
    else if (statement.starts_with("INSERT INTO actor_digests "))
      merge("actor_digests", given, merge_digest);
    else
      return tl::unexpected(not_known(statement).error());
    return std::vector<Record>{};
  }

  Status copy_in(const std::string& statement, std::string_view text) override {
    if (auto ok = ready(); !ok) return ok;
    if (failed_) return aborted();
    if (!statement.starts_with("COPY ")) return not_known(statement);
    const std::string table = statement.substr(5, statement.find(' ', 5) - 5);
    while (!text.empty()) {
      const auto line = text.substr(0, text.find('\n'));
      text.remove_prefix(line.size() + 1);
      Record row = fields_of(line);
      const std::string key = key_of(row, key_columns(table));
      if (sql_.tables_[table].contains(key)) {
        failed_ = true;
        return fail(Code::kInvalidArgument, "simulated: duplicate key in " + table);
      }
      put(table, key, std::move(row));
    }
    return {};
  }

  Status copy_out(const std::string& statement,
                  const std::function<void(const Record&)>&) override {
    return not_known(statement);
  }
  bool usable() const override { return open_; }
  void set_patience(std::chrono::milliseconds) override {}
  void set_deadline(std::chrono::steady_clock::time_point) override {}
  void interrupt() override { cut(); }

  // The server's side ends: nothing of an open transaction stays, and the lock is free.
  void cut() {
    undo_to(0);
    open_ = false;
    if (sql_.writer_ == id_) sql_.writer_ = 0;
  }

 private:
  struct Old {
    std::string table, key;
    std::optional<Row> row;
  };

  Faults& faults() { return sql_.ground_.faults; }
  Status lost(const char* why) {
    cut();
    return tl::unexpected(broken(why));
  }
  Status aborted() const { return fail(Code::kInternal, "the transaction is aborted"); }
  Status not_known(const std::string& statement) const {
    return fail(Code::kInternal, "simulated: no such statement: " + statement);
  }

  // Before each statement.
  Status ready() {
    if (!life_->enter()) return lost("simulated: the process is dead");
    if (!open_) return tl::unexpected(broken("simulated: the connection is gone"));
    if (sql_.away()) return lost("simulated: the database is away");
    if (faults().draw(Fault::kSqlReset)) return lost("simulated: reset");
    if (faults().draw(Fault::kSqlRestart)) {
      sql_.ground_.note("the database restarts");
      sql_.go_away(sql_.rng_.between(1'000, kLongestRestartUs));
      return tl::unexpected(broken("simulated: restarted"));
    }
    if (faults().draw(Fault::kSqlStall)) {
      sql_.ground_.note("the database stalls");
      sql_.go_away(kStallUs);
      return fail(Code::kDeadlineExceeded, "simulated: no answer");
    }
    return {};
  }

  Status commit() {
    if (faults().draw(Fault::kSqlConflict)) {
      undo_to(0);
      return fail(Code::kInternal, "simulated: could not serialize access");
    }
    undo_.clear();
    sql_.ground_.note(life_->name + " commits rows");
    if (sql_.committed_) sql_.committed_();
    if (faults().draw(Fault::kSqlCommitLost)) return lost("simulated: reset after COMMIT");
    if (!life_->enter()) return lost("simulated: the process is dead");
    return {};
  }

  void put(const std::string& table, const std::string& key, Row row) {
    Table& t = sql_.tables_[table];
    auto it = t.find(key);
    undo_.push_back({table, key, it == t.end() ? std::nullopt : std::optional(it->second)});
    t[key] = std::move(row);
  }

  void merge(const std::string& table, const Record& arrays, void (*onto)(Record&, const Record&)) {
    std::vector<std::vector<Field>> columns;
    for (const auto& a : arrays) columns.push_back(elements(*a));
    for (std::size_t i = 0; i < columns.front().size(); ++i) {
      Record excluded;
      for (const auto& c : columns) excluded.push_back(c[i]);
      const std::string key = key_of(excluded, key_columns(table));
      Table& t = sql_.tables_[table];
      auto it = t.find(key);
      Row row = it == t.end() ? excluded : it->second;
      if (it != t.end()) onto(row, excluded);
      put(table, key, std::move(row));
    }
  }

  void undo_to(std::size_t size) {
    for (; undo_.size() > size; undo_.pop_back()) {
      Old& old = undo_.back();
      if (old.row)
        sql_.tables_[old.table][old.key] = std::move(*old.row);
      else
        sql_.tables_[old.table].erase(old.key);
    }
  }

  SimSql& sql_;
  const std::shared_ptr<Life> life_;
  const std::uint64_t id_;
  bool open_ = true, failed_ = false;
  std::vector<Old> undo_;
  std::map<std::string, std::size_t> savepoints_;

  friend class SimSql;
};

Result<std::unique_ptr<projections::Db>> SimSql::open(std::shared_ptr<Life> life) {
  if (!life->enter()) return fail(Code::kUnavailable, "simulated: the process is dead");
  if (away()) return fail(Code::kUnavailable, "simulated: the database is away");
  return std::make_unique<Connection>(*this, std::move(life));
}

bool SimSql::try_lock(const projections::Db& connection) {
  const std::uint64_t id = dynamic_cast<const Connection&>(connection).id_;
  if (!connection.usable()) return false;
  if (writer_ == 0) writer_ = id;
  return writer_ == id;
}

void SimSql::go_away(std::int64_t us) {
  away_until_us_ = ground_.time.now_us() + us;
  for (auto& [id, c] : connections_) c->cut();
}

}  // namespace soma::sim
