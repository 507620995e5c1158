// soma chat: a conversation in the terminal.
#pragma once

#include <string>

#include "tools/cli/commands.h"

namespace soma::cli {

struct ChatOptions {
  std::string session;  // go on with this one
  std::string model;
};
// Lines of stdin are turns, until Ctrl-D. Off a terminal each turn is one line of JSON on stdout.
int run_chat(const Context& context, ChatOptions options);

}  // namespace soma::cli
