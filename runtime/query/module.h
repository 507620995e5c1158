// Tables as SQLite sees them: read-only virtual tables that exist without being created.
#pragma once

#include "runtime/query/tables.h"

struct sqlite3;

namespace soma::runtime::query {

// `reading` and `cause` outlive the connection; why a cursor failed is put into `cause`.
void add_table(sqlite3* db, const Table& table, const Reading& reading, Status& cause);

}  // namespace soma::runtime::query
