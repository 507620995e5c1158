// The clients' commands that a log holds: what the oracles of the system tests read.
#pragma once

#include <functional>
#include <regex>
#include <string>

#include "actors/actor_type.h"
#include "events/frames.h"

namespace soma::test {

// Each command of the valid frames that a client sent, partition by partition, in order. A key
// whose first use was refused runs again as TENANT/ROUND:KEY; to its client it is one command.
inline Status each_client_command(
    const events::Log& log,
    const std::function<void(Position, const ActorKey&, const std::string& command_id)>& visit) {
  static const std::regex further_round("^([^/:]+)/[0-9]+:");
  return events::each_frame(log, [&](const events::ValidFrame& frame) {
    for (const auto& entry : frame.frame->entries())
      if (entry.context().causation_id().empty())
        visit(frame.position, actors::to_key(entry.actor()),
              std::regex_replace(entry.context().command_id(), further_round, "$1:"));
    return true;
  });
}

}  // namespace soma::test
