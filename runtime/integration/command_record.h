// A foreign record read as a command; an event of ours written as a record. CloudEvents 1.0,
// binary.
#pragma once

#include <optional>
#include <string>

#include "events/kafka/topic_record.h"
#include "runtime/http/exchange.h"
#include "runtime/integration/commands.h"
#include "runtime/integration/public_events.h"

namespace soma::runtime::integration {

struct Command {
  const CommandRow* row = nullptr;
  std::string id;                    // the idempotency key
  std::optional<std::string> token;  // as it came; not yet checked
  std::string tenant, traceparent;   // as it came; empty: absent
  std::string body;
};

// Is the record one that this system put on the topic: an event, or a send between partitions
// (header `soma_send`)? Then it is no integrator's command.
bool is_ours(const events::TopicRecord& record);

// kMalformed, kInvalidArgument (a header, named), kUnsupportedMediaType. Looks at no clock and no
// state; whether the body is good for its route, and the token, is the route's to say.
Result<Command> decode_command(const events::TopicRecord& record);

// The request that the command stands for.
http::Head request_head(const Command& command);

events::TopicRecord event_record(const actors::Catalog& catalog, const PublicEvent& event,
                                 const std::string& topic_prefix);

}  // namespace soma::runtime::integration
