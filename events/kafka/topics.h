// The topics: made as a journal needs them, and refused when they would lose events.
#pragma once

#include <cstdint>

#include "events/kafka/client.h"

namespace soma::events::kafka {

// How many partitions the journal has; makes it first where `make` allows and it is absent.
// kConflict names the wrong setting and the command that mends it.
Result<std::uint32_t> prepare_journal(const KafkaOptions& options, bool make);

}  // namespace soma::events::kafka
