// The topics: made as a journal needs them, and refused when they would lose events.
#pragma once

#include <cstdint>

#include "events/kafka/client.h"

namespace soma::events::kafka {

struct Journal {
  std::uint32_t partitions = 0;
  std::string cluster;  // the cluster's id
};

// Makes the journal's topic where `make` allows and it is absent, and checks it.
// kConflict names the wrong setting and the command that mends it.
Result<Journal> prepare_journal(const KafkaOptions& options, bool make);

}  // namespace soma::events::kafka
