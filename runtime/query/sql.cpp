// SQLite over virtual tables; the database itself is empty and in memory.
#include "runtime/query/sql.h"

#include <sqlite3.h>

#include <cmath>
#include <memory>
#include <mutex>
#include <set>

#include "runtime/query/module.h"
#include "runtime/query/tables.h"
#include "schemas/json/json_text.h"

namespace soma::runtime::query {

namespace json = boost::json;

namespace {

constexpr int kOpsBetweenLooks = 2000;
constexpr int kMostValueBytes = 8 << 20;

using Database = std::unique_ptr<sqlite3, decltype(&sqlite3_close)>;
using Statement = std::unique_ptr<sqlite3_stmt, decltype(&sqlite3_finalize)>;

// Reading, functions and recursive queries; nothing that writes, attaches, loads or configures.
int only_reading(void*, int action, const char*, const char*, const char*, const char*) {
  switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_FUNCTION:
    case SQLITE_RECURSIVE:
      return SQLITE_OK;
    default:
      return SQLITE_DENY;
  }
}

int look(void* reading) { return static_cast<const Reading*>(reading)->in_time() ? 0 : 1; }

void bound(sqlite3* db) {
  sqlite3_limit(db, SQLITE_LIMIT_LENGTH, kMostValueBytes);
  sqlite3_limit(db, SQLITE_LIMIT_SQL_LENGTH, static_cast<int>(kMostQueryBytes));
  sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 0);
  sqlite3_limit(db, SQLITE_LIMIT_EXPR_DEPTH, 100);
  sqlite3_limit(db, SQLITE_LIMIT_COMPOUND_SELECT, 20);
  sqlite3_limit(db, SQLITE_LIMIT_VDBE_OP, 100'000);
  sqlite3_limit(db, SQLITE_LIMIT_TRIGGER_DEPTH, 0);
  sqlite3_limit(db, SQLITE_LIMIT_WORKER_THREADS, 0);
}

// "line 2, column 5" of a byte of the query.
std::string place(const std::string& sql, std::size_t byte) {
  std::size_t line = 1, column = 1;
  for (std::size_t i = 0; i < byte && i < sql.size(); ++i) {
    if (sql[i] == '\n') ++line, column = 0;
    if ((static_cast<unsigned char>(sql[i]) & 0xC0) != 0x80) ++column;
  }
  return "line " + std::to_string(line) + ", column " + std::to_string(column);
}

Error error_of(sqlite3* db, int code, const std::string& sql, const Reading& reading,
               const Status& cause) {
  if (!cause) return cause.error();
  const std::string said = sqlite3_errmsg(db);
  switch (code & 0xff) {
    case SQLITE_INTERRUPT:
      if (const auto late = reading.in_time(); !late) return late.error();
      return {Code::kCancelled, said, {}};
    case SQLITE_NOMEM:
      return {Code::kTooLarge,
              "the query needs more than " + std::to_string(kMostMemoryBytes >> 20) +
                  " MiB of memory: group, sort or join less",
              {}};
    case SQLITE_AUTH:
      return {Code::kInvalidArgument, "a query only reads: one SELECT (" + said + ")", "query"};
    case SQLITE_TOOBIG:
      return {Code::kTooLarge, "a value of the query is over 8 MiB", {}};
    default:
      break;
  }
  const int at = sqlite3_error_offset(db);
  return {Code::kInvalidArgument,
          said + (at >= 0 ? " at " + place(sql, static_cast<std::size_t>(at)) : std::string()),
          "query"};
}

json::value value_of(sqlite3_stmt* s, int column) {
  switch (sqlite3_column_type(s, column)) {
    case SQLITE_INTEGER:
      return sqlite3_column_int64(s, column);
    case SQLITE_FLOAT: {
      const double v = sqlite3_column_double(s, column);
      return std::isfinite(v) ? json::value(v) : json::value(nullptr);
    }
    case SQLITE_NULL:
      return nullptr;
    default: {
      const auto* bytes = static_cast<const char*>(sqlite3_column_blob(s, column));
      const auto size = static_cast<std::size_t>(sqlite3_column_bytes(s, column));
      return json::string(bytes ? std::string_view(bytes, size) : std::string_view());
    }
  }
}

// Members of one object must differ.
std::vector<std::string> columns_of(sqlite3_stmt* s) {
  std::vector<std::string> out;
  std::set<std::string> taken;
  for (int i = 0; i < sqlite3_column_count(s); ++i) {
    const char* name = sqlite3_column_name(s, i);
    std::string unique = name ? name : "column";
    for (int n = 2; !taken.insert(unique).second; ++n)
      unique = std::string(name ? name : "column") + "_" + std::to_string(n);
    out.push_back(unique);
  }
  return out;
}

Result<Statement> prepared(sqlite3* db, const std::string& sql, const Reading& reading) {
  sqlite3_stmt* raw = nullptr;
  const char* tail = nullptr;
  const int code = sqlite3_prepare_v2(db, sql.data(), static_cast<int>(sql.size()), &raw, &tail);
  Statement out(raw, sqlite3_finalize);
  if (code != SQLITE_OK) return tl::unexpected(error_of(db, code, sql, reading, {}));
  if (!out) return fail(Code::kInvalidArgument, "the query is empty", "query");
  const auto rest = sql.find_first_not_of(" \t\r\n;", static_cast<std::size_t>(tail - sql.data()));
  if (rest != sql.npos)
    return fail(Code::kInvalidArgument,
                "one query at a time; another begins at " + place(sql, rest), "query");
  if (sqlite3_stmt_readonly(out.get()) == 0)
    return fail(Code::kInvalidArgument, "a query only reads: one SELECT", "query");
  return out;
}

}  // namespace

Result<Answer> run_sql(const events::Log& log, const actors::Catalog& catalog,
                       const std::string* tenant, const std::string& sql, const Limits& limits,
                       const std::function<bool()>& stop) {
  if (sql.size() > kMostQueryBytes)
    return fail(Code::kTooLarge, "the query is over " + std::to_string(kMostQueryBytes) + " bytes",
                "query");
  if (sql.find('\0') != sql.npos)
    return fail(Code::kInvalidArgument, "the query holds a zero byte", "query");
  static std::once_flag once;
  std::call_once(once, [] { sqlite3_hard_heap_limit64(kMostMemoryBytes); });
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(limits.time_ms);
  Reading reading{log, catalog, tenant, deadline, stop, limits.held_bytes};
  for (std::uint32_t p = 0; p < log.partition_count(); ++p)
    reading.ends.push_back(log.end(PartitionId{p}));
  sqlite3* raw = nullptr;
  const int opened = sqlite3_open_v2(
      ":memory:", &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_MEMORY | SQLITE_OPEN_NOMUTEX, nullptr);
  Database db(raw, sqlite3_close);
  if (opened != SQLITE_OK) return fail(Code::kInternal, "SQLite does not open");
  sqlite3_exec(raw, "PRAGMA temp_store=MEMORY; PRAGMA trusted_schema=OFF", nullptr, nullptr,
               nullptr);
  bound(raw);
  Status cause;  // of a cursor that failed
  for (const auto& table : tables()) add_table(raw, table, reading, cause);
  sqlite3_set_authorizer(raw, only_reading, nullptr);
  sqlite3_progress_handler(raw, kOpsBetweenLooks, look, &reading);

  auto statement = prepared(raw, sql, reading);
  if (!statement) return tl::unexpected(statement.error());
  Answer out;
  out.columns = columns_of(statement->get());
  std::size_t bytes = 0;
  for (;;) {
    const int code = sqlite3_step(statement->get());
    if (code == SQLITE_DONE) return out;
    if (code != SQLITE_ROW)
      return tl::unexpected(error_of(raw, sqlite3_extended_errcode(raw), sql, reading, cause));
    if (out.rows.size() >= limits.rows || bytes >= limits.answer_bytes) {
      out.more = true;
      return out;
    }
    json::object row;
    for (std::size_t i = 0; i < out.columns.size(); ++i) {
      bytes +=
          out.columns[i].size() + 8 +
          static_cast<std::size_t>(sqlite3_column_bytes(statement->get(), static_cast<int>(i)));
      row[out.columns[i]] = value_of(statement->get(), static_cast<int>(i));
    }
    out.rows.push_back(std::move(row));
  }
}

}  // namespace soma::runtime::query
