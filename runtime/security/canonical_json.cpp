// A tree of already canonical texts, built by Boost's parser, which hands out numbers as written.
#include "runtime/security/canonical_json.h"

#include <boost/json/basic_parser_impl.hpp>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>
#include <vector>

namespace soma::runtime::security {

namespace {

namespace json = boost::json;

void append_escape(std::string& out, std::uint32_t unit) {
  static constexpr char kDigits[] = "0123456789abcdef";
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out += kDigits[(unit >> shift) & 15];
}

std::uint32_t next_code_point(std::string_view text, std::size_t& at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const std::uint32_t first = byte(at++);
  if (first < 0x80) return first;
  const int more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
  std::uint32_t point = first & (0x3Fu >> more);
  for (int i = 0; i < more; ++i)
    point = point << 6 | (byte(at++) & 0x3Fu);  // the parser checked it
  return point;
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (std::size_t at = 0; at < text.size();) {
    const std::uint32_t c = next_code_point(text, at);
    switch (c) {
      case '"':
        out += "\\\"";
        continue;
      case '\\':
        out += "\\\\";
        continue;
      case '\n':
        out += "\\n";
        continue;
      case '\r':
        out += "\\r";
        continue;
      case '\t':
        out += "\\t";
        continue;
      case '\f':
        out += "\\f";
        continue;
      case '\b':
        out += "\\b";
        continue;
      default:
        break;
    }
    if (c >= 0x20 && c < 0x7F) {
      out += static_cast<char>(c);
    } else if (c < 0x10000) {
      append_escape(out, c);
    } else {
      append_escape(out, 0xD800 + ((c - 0x10000) >> 10));
      append_escape(out, 0xDC00 + ((c - 0x10000) & 0x3FF));
    }
  }
  return out + "\"";
}

// Python's repr of a float: the shortest digits; an exponent from 1e16 on and below 1e-4.
std::optional<std::string> float_text(double value) {
  if (!std::isfinite(value)) return std::nullopt;
  char digits[400];
  auto end =
      std::to_chars(digits, digits + sizeof digits, value, std::chars_format::scientific).ptr;
  const std::string scientific(digits, end);
  const int exponent = std::atoi(scientific.c_str() + scientific.find('e') + 1);
  if (value != 0 && (exponent < -4 || exponent >= 16)) return scientific;
  end = std::to_chars(digits, digits + sizeof digits, value, std::chars_format::fixed).ptr;
  std::string fixed(digits, end);
  if (fixed.find('.') == std::string::npos) fixed += ".0";
  return fixed;
}

std::optional<std::string> number_text(const std::string& written) {
  if (written.find_first_of(".eE") == std::string::npos)
    return written == "-0" ? "0" : written;  // an integer, however long
  double value = 0;
  const auto read = std::from_chars(written.data(), written.data() + written.size(), value);
  if (read.ec == std::errc::result_out_of_range) {
    // Too small is zero, as for Python; too large has no JSON text.
    value = std::strtod(written.c_str(), nullptr);
  }
  return float_text(value);
}

// Called back by the parser. Every finished value is its canonical text.
class Handler {
 public:
  static constexpr std::size_t max_object_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_array_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_key_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_string_size = static_cast<std::size_t>(-1);
  using error_code = boost::system::error_code;

  bool on_document_begin(error_code&) { return true; }
  bool on_document_end(error_code&) { return true; }
  bool on_object_begin(error_code& ec) { return open(true, ec); }
  bool on_array_begin(error_code& ec) { return open(false, ec); }
  bool on_object_end(std::size_t, error_code& ec) {
    std::string out = "{";
    for (const auto& [key, value] : open_.back().members)
      out += (out.size() > 1 ? "," : "") + quoted(key) + ":" + value;
    if (open_.size() == 1) top = open_.back().members;
    return close(out + "}", ec);
  }
  bool on_array_end(std::size_t, error_code& ec) {
    std::string out = "[";
    for (const auto& value : open_.back().entries) out += (out.size() > 1 ? "," : "") + value;
    return close(out + "]", ec);
  }
  bool on_key_part(json::string_view part, std::size_t, error_code&) { return text_ += part, true; }
  bool on_key(json::string_view part, std::size_t, error_code& ec) {
    text_ += part;
    if (open_.back().members.contains(text_))
      return stop("the key " + quoted(text_) + " stands twice in one object", ec);
    open_.back().key = std::exchange(text_, {});
    return true;
  }
  bool on_string_part(json::string_view part, std::size_t, error_code&) {
    return text_ += part, true;
  }
  bool on_string(json::string_view part, std::size_t, error_code&) {
    text_ += part;
    return put(quoted(std::exchange(text_, {})));
  }
  bool on_number_part(json::string_view part, error_code&) { return text_ += part, true; }
  bool on_int64(std::int64_t, json::string_view part, error_code& ec) { return number(part, ec); }
  bool on_uint64(std::uint64_t, json::string_view part, error_code& ec) { return number(part, ec); }
  bool on_double(double, json::string_view part, error_code& ec) { return number(part, ec); }
  bool on_bool(bool value, error_code&) { return put(value ? "true" : "false"); }
  bool on_null(error_code&) { return put("null"); }
  bool on_comment_part(json::string_view, error_code&) { return true; }
  bool on_comment(json::string_view, error_code&) { return true; }

  // The members of the outermost object, as canonical texts.
  std::map<std::string, std::string> top;
  std::string result, problem;

 private:
  struct Open {
    std::map<std::string, std::string> members;  // UTF-8 byte order is code point order
    std::vector<std::string> entries;
    std::string key;
    bool object = false;
  };
  bool stop(std::string why, error_code& ec) {
    problem = std::move(why);
    ec = boost::system::errc::make_error_code(boost::system::errc::invalid_argument);
    return false;
  }
  bool open(bool object, error_code& ec) {
    if (open_.size() >= kMaxCanonicalDepth) return stop("it is nested deeper than 64", ec);
    open_.emplace_back().object = object;
    return true;
  }
  bool close(std::string text, error_code&) {
    open_.pop_back();
    return put(std::move(text));
  }
  bool put(std::string text) {
    if (open_.empty())
      result = std::move(text);
    else if (open_.back().object)
      open_.back().members[open_.back().key] = std::move(text);
    else
      open_.back().entries.push_back(std::move(text));
    return true;
  }
  bool number(json::string_view part, error_code& ec) {
    text_ += part;
    const std::string written = std::exchange(text_, {});
    auto text = number_text(written);
    if (!text) return stop("the number " + written.substr(0, 40) + " is out of range", ec);
    return put(std::move(*text));
  }

  std::vector<Open> open_;
  std::string text_;
};

}  // namespace

namespace {

using Parser = json::basic_parser<Handler>;

Status parse(Parser& parser, std::string_view text) {
  boost::system::error_code ec;
  const std::size_t read = parser.write_some(false, text.data(), text.size(), ec);
  if (!ec && read < text.size() &&
      text.find_first_not_of(" \t\r\n", read) != std::string_view::npos)
    ec = boost::system::errc::make_error_code(boost::system::errc::invalid_argument);
  if (!ec) return {};
  const std::string& why = parser.handler().problem;
  return fail(Code::kMalformed,
              "the document is not JSON that can be hashed: " + (why.empty() ? ec.message() : why));
}

json::parse_options parse_options() {
  json::parse_options options;
  options.max_depth = kMaxCanonicalDepth;
  return options;
}

}  // namespace

Result<std::string> canonical_json(std::string_view text) {
  Parser parser(parse_options());
  if (auto ok = parse(parser, text); !ok) return tl::unexpected(ok.error());
  return std::move(parser.handler().result);
}

std::optional<std::string> canonical_member(std::string_view object, std::string_view name) {
  Parser parser(parse_options());
  if (!parse(parser, object)) return std::nullopt;
  auto& top = parser.handler().top;
  auto it = top.find(std::string(name));
  if (it == top.end()) return std::nullopt;
  return std::move(it->second);
}

}  // namespace soma::runtime::security
