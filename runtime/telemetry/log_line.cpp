// Escaping, redaction and limits of log lines: what comes from outside cannot forge a line.
#include "runtime/telemetry/log_line.h"

#include <array>
#include <charconv>
#include <cmath>

namespace soma::runtime::log_line {
namespace {

constexpr std::size_t kMaxValue = 1024;  // bytes of one text value; longer ones end in …

// Length of the valid UTF-8 sequence at `text`, 0 when there is none.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char c = byte(0);
  std::size_t n = c < 0x80                ? 1
                  : c >= 0xC2 && c < 0xE0 ? 2
                  : c >= 0xE0 && c < 0xF0 ? 3
                  : c >= 0xF0 && c < 0xF5 ? 4
                                          : 0;
  if (n == 0 || n > text.size()) return 0;
  for (std::size_t i = 1; i < n; ++i)
    if ((byte(i) & 0xC0) != 0x80) return 0;
  if (n == 3 && ((c == 0xE0 && byte(1) < 0xA0) || (c == 0xED && byte(1) > 0x9F))) return 0;
  if (n == 4 && ((c == 0xF0 && byte(1) < 0x90) || (c == 0xF4 && byte(1) > 0x8F))) return 0;
  return n;
}

void append_control(std::string& out, unsigned char c) {
  constexpr char digits[] = "0123456789abcdef";
  out += "\\u00";
  out += digits[c >> 4];
  out += digits[c & 15];
}

bool plain(std::string_view text) {
  if (text.empty() || text.size() > kMaxValue) return false;
  for (const unsigned char c : text)
    if (c <= 0x20 || c >= 0x7F || c == '"' || c == '\\' || c == '=') return false;
  return true;
}

bool names_a_secret(std::string_view key) {
  static constexpr std::array<std::string_view, 5> kWords = {"token", "secret", "password",
                                                             "api_key", "authorization"};
  for (const auto word : kWords)
    if (key.find(word) != std::string_view::npos) return true;
  return false;
}

template <typename T>
void append_number(std::string& out, T value) {
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value);
  out.append(buffer, end.ptr);
}

struct Writer {
  std::string& out;
  std::string_view key;
  bool json;

  void operator()(std::string_view text) const {
    if (names_a_secret(key)) text = "***";
    if (!json && plain(text))
      out += text;
    else
      append_json_string(out, text);
  }
  void operator()(std::int64_t v) const { append_number(out, v); }
  void operator()(std::uint64_t v) const { append_number(out, v); }
  void operator()(bool v) const { out += v ? "true" : "false"; }
  void operator()(double v) const {
    if (std::isfinite(v))
      append_number(out, v);
    else
      out += json ? "null" : "nan";
  }
};

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  const bool cut = text.size() > kMaxValue;
  if (cut) text = text.substr(0, kMaxValue);
  out += '"';
  while (!text.empty()) {
    const unsigned char c = static_cast<unsigned char>(text.front());
    if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c < 0x20 || c == 0x7F)
      append_control(out, c);
    else if (c < 0x80)
      out += static_cast<char>(c);
    else if (const std::size_t n = utf8_length(text); n > 0) {
      // U+0080..U+009F are terminal controls in some emulators.
      if (n == 2 && c == 0xC2 && static_cast<unsigned char>(text[1]) < 0xA0)
        append_control(out, static_cast<unsigned char>(text[1]));
      else
        out.append(text.substr(0, n));
      text.remove_prefix(n - 1);
    } else
      out += "\xEF\xBF\xBD";
    text.remove_prefix(1);
  }
  if (cut) out += "\xE2\x80\xA6";
  out += '"';
}

void append_fields(std::string& out, LogFields fields, bool json) {
  for (const LogField& field : fields) {
    if (out.size() > kMaxLogLine - 2 * kMaxValue) {
      out += json ? ",\"cut\":true" : " cut=true";
      return;
    }
    if (json) {
      out += ',';
      append_json_string(out, field.key);
      out += ':';
    } else {
      out += ' ';
      out += field.key;
      out += '=';
    }
    std::visit(Writer{out, field.key, json}, field.value);
  }
}

std::string_view level_name(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarn:
      return "warn";
    case LogLevel::kError:
      return "error";
    case LogLevel::kOff:
      return "off";
  }
  return "off";
}

}  // namespace soma::runtime::log_line
