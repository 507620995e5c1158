// The schemas of the database: the one that is shown, the one that is being filled, and which build
// they are of.
#pragma once

#include <map>
#include <string>

#include "events/bookmark.h"
#include "projections/postgres/db.h"

namespace soma::projections {

inline constexpr char kShown[] = "soma";
inline constexpr char kFilling[] = "soma_next";

enum class Shown { kAbsent, kOfAnotherBuild, kCurrent };
Result<Shown> shown_schema(Db& db);

// Tables without indexes, and the version mark. Replaces a schema of that name.
Status create_schema(Db& db, const std::string& name);
Status create_indexes(Db& db, const std::string& name);
// Of its tables, and not of those that are shown beside it.
Status analyze(Db& db, const std::string& name);
// In one transaction: what was shown goes, what was filled is shown.
Status switch_schemas(Db& db);
// For the rest of the connection's life.
Status use_schema(Db& db, const std::string& name);

using Cursors = std::map<std::uint32_t, events::Bookmark>;
// Of the schema in use. `lock`: until the end of the transaction nobody else moves them.
Result<Cursors> load_cursors(Db& db, bool lock);
Status store_cursor(Db& db, std::uint32_t partition, const events::Bookmark& bookmark);

}  // namespace soma::projections
