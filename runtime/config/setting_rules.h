// How text becomes a checked member of Config; private to this room.
#pragma once

#include <string>
#include <vector>

#include "runtime/config/config.h"

namespace soma::runtime::config::rules {

// Each makes the apply and show of one row. A bad value's message says what the setting takes.
using StringMember = std::string Config::*;
Setting text(Setting row, StringMember member);
Setting url(Setting row, StringMember member, std::vector<std::string> schemes);
Setting listen(Setting row, StringMember member, bool may_be_off);
Setting choice(Setting row, StringMember member, std::vector<std::string> values);
Setting flag(Setting row, bool Config::*member);
// One name=value a line.
Setting properties(Setting row, std::map<std::string, std::string> Config::*member);
Setting list(Setting row, std::vector<std::string> Config::*member);
Setting number(Setting row, std::uint64_t Config::*member, std::uint64_t min, std::uint64_t max);
Setting number(Setting row, std::uint32_t Config::*member, std::uint32_t min, std::uint32_t max);

std::vector<std::string> split_list(const std::string& text);  // by commas, trimmed, no empties

}  // namespace soma::runtime::config::rules
