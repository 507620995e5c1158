// Commands that the contract names and this build does not have: they are told apart from mistypes.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace soma::cli {

struct LaterCommand {
  std::string missing, instead;  // sentences without a period: what is not there, what to do now
};
// `path`: the words, as "soma memory wm".
std::optional<LaterCommand> later_command(std::string_view path);

}  // namespace soma::cli
