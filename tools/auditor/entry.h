// The little that must be read of a soma.v1.Entry: the ids of its events.
#pragma once

#include <string_view>

namespace soma::auditor {

// Does the entry (protobuf; field 5: events, of which field 1 is the id) hold this event?
bool holds_event(std::string_view entry, std::string_view event_id);

}  // namespace soma::auditor
