// How one log event becomes one line; private to this room.
#pragma once

#include <string>

#include "runtime/telemetry/log.h"

namespace soma::runtime::log_line {

void append_fields(std::string& out, LogFields fields, bool json);
void append_json_string(std::string& out, std::string_view text);
std::string_view level_name(LogLevel level);

}  // namespace soma::runtime::log_line
