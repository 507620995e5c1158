// SQL over the journal: one SELECT, read-only, bounded in time, rows and memory.
#pragma once

#include <boost/json/array.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "actors/actor_type.h"
#include "events/log.h"

namespace soma::runtime::query {

struct Limits {
  std::int64_t time_ms = 10'000;
  std::size_t rows = 10'000;              // what comes after is not computed
  std::size_t answer_bytes = 32u << 20u;  // of the rows as JSON, about
  std::size_t held_bytes = 256u << 20u;   // of states of actors and their rows, about
};
inline constexpr std::int64_t kMostTimeMs = 120'000;
inline constexpr std::size_t kMostRows = 100'000;
inline constexpr std::size_t kMostQueryBytes = 64 << 10;
// Of all queries of the process together: SQLite's own memory (sorting, grouping, joins).
inline constexpr std::int64_t kMostMemoryBytes = 256LL << 20;

struct Answer {
  std::vector<std::string> columns;
  boost::json::array rows;  // objects, members in the order of the columns
  bool more = false;        // a limit on the rows was reached
};

// Tables events, actors, sessions, decisions, effects; see tables.h. `tenant`: its rows alone;
// null: every tenant's. Sees the journal as it stood at the call. Blocking; thread-safe. Fails:
// kInvalidArgument (not SQL, not a single SELECT; the message says where), kDeadlineExceeded,
// kUnavailable (`stop` says true), kTooLarge (memory), what reading the log fails with.
Result<Answer> run_sql(const events::Log& log, const actors::Catalog& catalog,
                       const std::string* tenant, const std::string& sql, const Limits& limits,
                       const std::function<bool()>& stop = {});

}  // namespace soma::runtime::query
