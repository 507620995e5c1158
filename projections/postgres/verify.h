// Proof that rows are the fold of the log, or the names of those that are not.
#pragma once

#include "events/log.h"
#include "projections/postgres/db.h"
#include "projections/projections.h"

namespace soma::projections {

// `db` uses the schema to check. Memory: about 100 bytes an actor of one slice of the actors; more
// actors mean more passes over log and tables. `tenant`: whose differences are told; without one
// everybody's. `stop` ends it with kCancelled.
Result<Verification> verify_rows(const events::Log& log, Db& db,
                                 const std::optional<std::string>& tenant,
                                 const std::function<bool()>& stop);

// SHA-256 over all rows of the schema in use, whatever their order.
Result<std::string> digest_rows(Db& db);

}  // namespace soma::projections
