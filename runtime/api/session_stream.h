// One client's live view of a session: durable events in order, tokens between them, each once.
#pragma once

#include <memory>
#include <string>

#include "runtime/api/api.h"

namespace soma::runtime::api {

// Where a client stopped: "SEQUENCE" or "SEQUENCE.ATTEMPT.INDEX" of the last thing it saw.
struct StreamPlace {
  std::uint64_t sequence = 0;
  std::uint32_t attempt = 0;
  std::uint32_t index = 0;
  bool in_tokens = false;
};
Result<StreamPlace> parse_place(const std::string& last_event_id);

// Keeps itself alive until the client goes or the session ends.
void stream_session(const Node& node, ActorKey session, StreamPlace place, bool follow,
                    std::shared_ptr<http::EventStream> out);

}  // namespace soma::runtime::api
