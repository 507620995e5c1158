// Sealed personal data of a journal that is read, where the data folder has the keys.
#pragma once

#include "events/log.h"

namespace soma::cli::offline {

// With the folder's keys, where it has some; without, sealed data is shown as erased data is.
Status unseal(events::Log& log, const std::string& folder);

// Of a cluster's journal: `folder` may be of another one. What its vault has no keys for stays
// sealed, and a note on stderr says so, once.
Status unseal_moved(events::Log& log, const std::string& folder);

}  // namespace soma::cli::offline
