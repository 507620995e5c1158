// Commands that integrators may send through topics: each is a route, taken in another way.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

namespace google::protobuf {
class Message;
}

namespace soma::runtime::integration {

using MessagePtr = std::unique_ptr<google::protobuf::Message>;

struct CommandRow {
  std::string_view type;  // ce_type
  std::string_view method, path;
  std::string_view about;
  MessagePtr (*new_body)();  // its body as protobuf: integration.proto
};
const std::vector<CommandRow>& command_table();
const CommandRow* command_row(std::string_view type);  // null: no such command

struct InboundTopic {
  std::string_view name, dead_letters;  // without prefix
};
// Every command may come on each of them.
const std::vector<InboundTopic>& inbound_topics();

}  // namespace soma::runtime::integration
