// The journal of a node: which engine the settings ask for, and that the data folder belongs to it.
#pragma once

#include <memory>

#include "events/log.h"
#include "runtime/config/config.h"

namespace soma::runtime {

// Embedded log or Kafka. kConflict when the data folder's caches are of another journal: states and
// views of one must never be continued with another.
Result<std::unique_ptr<events::Log>> open_journal(const config::Config& config);

// The journal's topic on Kafka for tools beside running nodes; appends are refused.
Result<std::unique_ptr<events::Log>> open_journal_readonly(const config::Config& config);

}  // namespace soma::runtime
