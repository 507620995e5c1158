// Structured logging: an event name and key=value fields; JSON lines unless stderr is a terminal.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

#include "schemas/base/errors.h"

namespace soma::runtime {

enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarn, kError, kOff };

// One field. Never pass a secret, a token or a prompt: nothing here can tell. As a second fence,
// values of keys that contain token, secret, password, api_key or authorization are not written.
struct LogField {
  std::string_view key;
  std::variant<std::string_view, std::int64_t, std::uint64_t, double, bool> value;

  LogField(std::string_view k, std::string_view v) : key(k), value(v) {}
  LogField(std::string_view k, const char* v) : key(k), value(std::string_view(v)) {}
  LogField(std::string_view k, const std::string& v) : key(k), value(std::string_view(v)) {}
  LogField(std::string_view k, bool v) : key(k), value(v) {}
  LogField(std::string_view k, double v) : key(k), value(v) {}
  template <std::integral T>
  requires(!std::same_as<T, bool>) LogField(std::string_view k, T v) : key(k) {
    if constexpr (std::is_signed_v<T>)
      value = static_cast<std::int64_t>(v);
    else
      value = static_cast<std::uint64_t>(v);
  }
};
using LogFields = std::initializer_list<LogField>;

// Thread-safe. Lines above kMaxLogLine bytes are cut. Errors of the sink are ignored: a full disk
// or closed stderr must not stop a node.
inline constexpr std::size_t kMaxLogLine = 8192;
void log_debug(std::string_view event, LogFields fields = {});
void log_info(std::string_view event, LogFields fields = {});
void log_warn(std::string_view event, LogFields fields = {});
void log_error(std::string_view event, LogFields fields = {});
bool log_enabled(LogLevel level);

struct LogOptions {
  LogLevel level = LogLevel::kInfo;
  enum class Format : std::uint8_t { kAuto, kJson, kText } format = Format::kAuto;
};
void configure_logging(const LogOptions& options);  // once, early; default options before that
Result<LogLevel> parse_log_level(std::string_view text);

// Tests: one line as it would be written, without its time.
std::string format_log_line(LogLevel level, std::string_view event, LogFields fields, bool json);

}  // namespace soma::runtime
