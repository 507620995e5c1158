// The node's route of SQL.
#pragma once

#include "runtime/api/api.h"

namespace soma::runtime::query {

// POST /v1/log/sql {query, time_ms?, rows?} -> {columns, rows, more}.
void register_sql(http::Router& router, const api::Node& node);

}  // namespace soma::runtime::query
