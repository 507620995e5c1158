// Sealed personal data of a journal that is read, where the data folder has the keys.
#pragma once

#include "events/log.h"
#include "runtime/config/config.h"

namespace soma::cli::offline {

// With the folder's keys, where it has some; without, sealed data is shown as erased data is.
Status unseal(events::Log& log, const std::string& folder);

// Of a cluster's journal: with the keys of its topic, where the data folder of `config` or its
// settings have their master key, or with the folder's vault. What neither knows stays sealed, and
// a note on stderr says so, once.
Status unseal_cluster(events::Log& log, const runtime::config::Config& config);

}  // namespace soma::cli::offline
