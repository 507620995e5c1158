// The table of commands.
#include "runtime/integration/commands.h"

#include "soma/v1/integration.pb.h"

namespace soma::runtime::integration {

namespace {

template <typename T>
MessagePtr make() {
  return std::make_unique<T>();
}

}  // namespace

const std::vector<CommandRow>& command_table() {
  static const std::vector<CommandRow> table = {
      {"session.start", "POST", "/v1/sessions/start", "Starts a governed session",
       make<v1::SessionStartBody>},
      {"memory.remember", "POST", "/v1/remember", "Remembers a fact", make<v1::MemoryRememberBody>},
      {"slm.request", "POST", "/v1/requests", "Asks a model; the answer is on slm.responses",
       make<v1::SlmRequestBody>},
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
