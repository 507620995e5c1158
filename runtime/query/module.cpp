// The virtual-table interface: only scans, of one partition where the query names it.
#include "runtime/query/module.h"

#include <sqlite3.h>

namespace soma::runtime::query {

namespace {

constexpr int kPartitionColumn = 0;  // of every table
enum Scan : int { kAll = 0, kOnePartition = 1 };

struct Shared {
  const Table& table;
  const Reading& reading;
  Status& cause;
};
struct TableHandle : sqlite3_vtab {
  Shared* shared = nullptr;
};
struct CursorHandle : sqlite3_vtab_cursor {
  Shared* shared = nullptr;
  std::unique_ptr<Cursor> rows;
  bool at_end = false;
  sqlite3_int64 row = 0;
};

CursorHandle& of(sqlite3_vtab_cursor* c) { return *static_cast<CursorHandle*>(c); }

int connect(sqlite3* db, void* shared, int, const char* const*, sqlite3_vtab** out, char**) {
  auto* s = static_cast<Shared*>(shared);
  if (const int code = sqlite3_declare_vtab(db, s->table.declaration); code != SQLITE_OK)
    return code;
  auto handle = std::make_unique<TableHandle>();
  handle->shared = s;
  *out = handle.release();
  return SQLITE_OK;
}

int disconnect(sqlite3_vtab* table) {
  delete static_cast<TableHandle*>(table);
  return SQLITE_OK;
}

int best_index(sqlite3_vtab*, sqlite3_index_info* info) {
  info->estimatedCost = 1e9;
  info->idxNum = kAll;
  for (int i = 0; i < info->nConstraint; ++i) {
    const auto& c = info->aConstraint[i];
    if (c.usable == 0 || c.iColumn != kPartitionColumn || c.op != SQLITE_INDEX_CONSTRAINT_EQ)
      continue;
    info->aConstraintUsage[i].argvIndex = 1;
    info->idxNum = kOnePartition;
    info->estimatedCost = 1e7;
    break;
  }
  return SQLITE_OK;
}

int open_cursor(sqlite3_vtab* table, sqlite3_vtab_cursor** out) {
  auto cursor = std::make_unique<CursorHandle>();
  cursor->shared = static_cast<TableHandle*>(table)->shared;
  *out = cursor.release();
  return SQLITE_OK;
}

int close_cursor(sqlite3_vtab_cursor* c) {
  delete &of(c);
  return SQLITE_OK;
}

// Exceptions stop here: SQLite is C.
int next_row(sqlite3_vtab_cursor* c) try {
  auto& cursor = of(c);
  auto more = cursor.rows->next();
  if (!more) {
    cursor.shared->cause = tl::unexpected(more.error());
    return SQLITE_ERROR;
  }
  cursor.at_end = !*more;
  ++cursor.row;
  return SQLITE_OK;
} catch (const std::bad_alloc&) {
  return SQLITE_NOMEM;
} catch (const std::exception& e) {
  of(c).shared->cause = fail(Code::kInternal, e.what());
  return SQLITE_ERROR;
}

int filter(sqlite3_vtab_cursor* c, int scan, const char*, int, sqlite3_value** values) {
  auto& cursor = of(c);
  const Shared& s = *cursor.shared;
  cursor.at_end = false;
  std::optional<std::uint32_t> only;
  if (scan == kOnePartition) {
    const sqlite3_int64 asked = sqlite3_value_int64(values[0]);
    cursor.at_end = sqlite3_value_numeric_type(values[0]) != SQLITE_INTEGER || asked < 0 ||
                    asked >= s.reading.log.partition_count();
    if (cursor.at_end) return SQLITE_OK;
    only = static_cast<std::uint32_t>(asked);
  }
  cursor.rows = s.table.open(s.reading, only);
  return next_row(c);
}

int at_end(sqlite3_vtab_cursor* c) { return of(c).at_end ? 1 : 0; }

int column(sqlite3_vtab_cursor* c, sqlite3_context* context, int number) try {
  const Cell cell = of(c).rows->cell(number);
  if (const auto* i = std::get_if<std::int64_t>(&cell))
    sqlite3_result_int64(context, *i);
  else if (const auto* d = std::get_if<double>(&cell))
    sqlite3_result_double(context, *d);
  else if (const auto* t = std::get_if<std::string>(&cell))
    sqlite3_result_text64(context, t->data(), t->size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  else
    sqlite3_result_null(context);
  return SQLITE_OK;
} catch (const std::bad_alloc&) {
  return SQLITE_NOMEM;
} catch (const std::exception& e) {
  of(c).shared->cause = fail(Code::kInternal, e.what());
  return SQLITE_ERROR;
}

int row_id(sqlite3_vtab_cursor* c, sqlite3_int64* out) {
  *out = of(c).row;
  return SQLITE_OK;
}

// Without xCreate the table simply exists; without xUpdate it cannot be written.
const sqlite3_module kModule = [] {
  sqlite3_module m{};
  m.xConnect = connect;
  m.xDisconnect = disconnect;
  m.xBestIndex = best_index;
  m.xOpen = open_cursor;
  m.xClose = close_cursor;
  m.xFilter = filter;
  m.xNext = next_row;
  m.xEof = at_end;
  m.xColumn = column;
  m.xRowid = row_id;
  return m;
}();

}  // namespace

void add_table(sqlite3* db, const Table& table, const Reading& reading, Status& cause) {
  sqlite3_create_module_v2(db, table.name, &kModule, new Shared{table, reading, cause},
                           [](void* shared) { delete static_cast<Shared*>(shared); });
}

}  // namespace soma::runtime::query
