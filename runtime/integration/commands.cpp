// The table of commands.
#include "runtime/integration/commands.h"

namespace soma::runtime::integration {

const std::vector<CommandRow>& command_table() {
  static const std::vector<CommandRow> table = {
      {"session.start", "POST", "/v1/sessions/start", "Starts a governed session"},
      {"memory.remember", "POST", "/v1/remember", "Remembers a fact"},
      {"slm.request", "POST", "/v1/requests", "Asks a model; the answer is on slm.responses"},
  };
  return table;
}

const CommandRow* command_row(std::string_view type) {
  for (const auto& row : command_table())
    if (row.type == type) return &row;
  return nullptr;
}

const std::vector<InboundTopic>& inbound_topics() {
  static const std::vector<InboundTopic> topics = {{"soma.commands", "soma.commands.dlq"},
                                                   {"slm.requests", "slm.requests.dlq"}};
  return topics;
}

}  // namespace soma::runtime::integration
