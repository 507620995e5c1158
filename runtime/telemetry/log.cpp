// The log facade over spdlog: one thread-safe sink on stderr; lines are made by log_line.
#include "runtime/telemetry/log.h"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <memory>

#include "runtime/telemetry/log_line.h"

namespace soma::runtime {
namespace {

// Logging is the one thing that is process-wide: stderr is.
struct State {
  std::atomic<LogLevel> level{LogLevel::kInfo};
  std::atomic<bool> json{!isatty(STDERR_FILENO)};
  spdlog::logger logger{"soma", std::make_shared<spdlog::sinks::stderr_sink_mt>()};

  State() {
    logger.set_formatter(std::make_unique<spdlog::pattern_formatter>("%v"));
    logger.set_level(spdlog::level::trace);
    logger.set_error_handler([](const std::string&) {});
  }
};

State& state() {
  static State& instance = *new State;  // never destroyed: other destructors may log
  return instance;
}

std::string time_text() {
  const auto now = std::chrono::system_clock::now();
  const auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count();
  const std::time_t seconds = ms / 1000;
  std::tm tm{};
  gmtime_r(&seconds, &tm);
  char buffer[48];
  std::size_t n = std::strftime(buffer, sizeof buffer, "%Y-%m-%dT%H:%M:%S", &tm);
  n += static_cast<std::size_t>(
      std::snprintf(buffer + n, sizeof buffer - n, ".%03dZ", static_cast<int>(ms % 1000)));
  return {buffer, n};
}

std::string make_line(std::string_view time, LogLevel level, std::string_view event,
                      LogFields fields, bool json) {
  std::string out;
  out.reserve(256);
  if (json) {
    out += '{';
    if (!time.empty()) {
      out += "\"time\":\"";
      out += time;
      out += "\",";
    }
    out += "\"level\":\"";
    out += log_line::level_name(level);
    out += "\",\"event\":";
    log_line::append_json_string(out, event);
  } else {
    if (!time.empty()) (out += time) += ' ';
    out += log_line::level_name(level);
    out += ' ';
    out += event;
  }
  log_line::append_fields(out, fields, json);
  if (json) out += '}';
  return out;
}

void write(LogLevel level, spdlog::level::level_enum spd, std::string_view event,
           LogFields fields) {
  if (!log_enabled(level)) return;
  State& s = state();
  s.logger.log(spd,
               spdlog::string_view_t(make_line(time_text(), level, event, fields, s.json.load())));
}

}  // namespace

void log_debug(std::string_view event, LogFields fields) {
  write(LogLevel::kDebug, spdlog::level::debug, event, fields);
}
void log_info(std::string_view event, LogFields fields) {
  write(LogLevel::kInfo, spdlog::level::info, event, fields);
}
void log_warn(std::string_view event, LogFields fields) {
  write(LogLevel::kWarn, spdlog::level::warn, event, fields);
}
void log_error(std::string_view event, LogFields fields) {
  write(LogLevel::kError, spdlog::level::err, event, fields);
}

bool log_enabled(LogLevel level) {
  return level >= state().level.load(std::memory_order_relaxed) && level != LogLevel::kOff;
}

void configure_logging(const LogOptions& options) {
  state().level = options.level;
  state().json = options.format == LogOptions::Format::kAuto
                     ? !isatty(STDERR_FILENO)
                     : options.format == LogOptions::Format::kJson;
}

Result<LogLevel> parse_log_level(std::string_view text) {
  for (const LogLevel level :
       {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarn, LogLevel::kError, LogLevel::kOff})
    if (log_line::level_name(level) == text) return level;
  return fail(Code::kInvalidArgument, "log level must be debug, info, warn, error or off",
              "log.level");
}

std::string format_log_line(LogLevel level, std::string_view event, LogFields fields, bool json) {
  return make_line({}, level, event, fields, json);
}

}  // namespace soma::runtime
