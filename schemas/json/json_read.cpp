// Strict JSON: boost::json's parser core with a handler that refuses what two readers could differ
// on.
#include "schemas/json/json_read.h"

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/value_stack.hpp>
#include <charconv>
#include <cmath>
#include <string>
#include <unordered_set>
#include <vector>

namespace soma {
namespace {

namespace json = boost::json;
using json::error_code;
using json::string_view;

// Builds the value as boost::json's own parser does, and keeps the member names of every open
// object.
struct StrictHandler {
  static constexpr std::size_t max_array_size = -1;
  static constexpr std::size_t max_object_size = -1;
  static constexpr std::size_t max_string_size = json::string::max_size();
  static constexpr std::size_t max_key_size = json::string::max_size();

  json::value_stack stack;
  std::vector<std::unordered_set<std::string>> names;  // of the open objects
  std::string name;                                    // parts of the member name so far
  std::string number;                                  // parts of the number so far
  const char* reason = nullptr;
  std::size_t max_members = 0;

  bool refuse(error_code& ec, const char* why) {
    reason = why;
    ec = json::error::syntax;
    return false;
  }

  bool on_document_begin(error_code&) { return true; }
  bool on_document_end(error_code&) { return true; }
  bool on_object_begin(error_code&) {
    names.emplace_back();
    return true;
  }
  bool on_object_end(std::size_t n, error_code&) {
    names.pop_back();
    stack.push_object(n);
    return true;
  }
  bool on_array_begin(error_code&) { return true; }
  bool on_array_end(std::size_t n, error_code&) {
    stack.push_array(n);
    return true;
  }
  bool on_key_part(string_view s, std::size_t, error_code&) {
    name.append(s.data(), s.size());
    stack.push_chars(s);
    return true;
  }
  bool on_key(string_view s, std::size_t, error_code& ec) {
    name.append(s.data(), s.size());
    const bool fresh = names.back().insert(std::move(name)).second;
    name.clear();
    if (!fresh) return refuse(ec, "a member name stands twice in one object");
    if (names.back().size() > max_members) return refuse(ec, "an object has too many members");
    stack.push_key(s);
    return true;
  }
  bool on_string_part(string_view s, std::size_t, error_code&) {
    stack.push_chars(s);
    return true;
  }
  bool on_string(string_view s, std::size_t, error_code&) {
    stack.push_string(s);
    return true;
  }
  bool on_number_part(string_view s, error_code&) {
    number.append(s.data(), s.size());
    return true;
  }
  bool on_int64(std::int64_t i, string_view, error_code&) {
    number.clear();
    stack.push_int64(i);
    return true;
  }
  bool on_uint64(std::uint64_t u, string_view, error_code&) {
    number.clear();
    stack.push_uint64(u);
    return true;
  }
  // boost::json 1.81 may be off in the last bit; policy scores and digests need the nearest double.
  bool on_double(double d, string_view s, error_code& ec) {
    number.append(s.data(), s.size());
    const std::string text = std::exchange(number, {});
    if (text.find_first_of(".eE") == text.npos)
      return refuse(ec, "an integer does not fit 64 bits");
    double exact = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), exact);
    if (read.ec == std::errc()) d = exact;  // else too large, or so small that d is zero
    if (!std::isfinite(d) || (read.ec != std::errc() && std::abs(d) > 1))
      return refuse(ec, "a number is too large");
    stack.push_double(d);
    return true;
  }
  bool on_bool(bool b, error_code&) {
    stack.push_bool(b);
    return true;
  }
  bool on_null(error_code&) {
    stack.push_null();
    return true;
  }
  bool on_comment_part(string_view, error_code&) { return true; }
  bool on_comment(string_view, error_code&) { return true; }
};

tl::unexpected<Error> malformed(std::size_t offset, const std::string& why) {
  return fail(Code::kMalformed, "not valid JSON at byte " + std::to_string(offset) + ": " + why);
}

std::string sentence(const error_code& error, const char* reason) {
  if (reason != nullptr) return reason;
  if (error == json::error::too_deep) return "nested too deeply";
  if (error == json::error::incomplete) return "it ends too early";
  if (error == json::error::illegal_leading_surrogate ||
      error == json::error::illegal_trailing_surrogate)
    return "an escape is half a surrogate pair";
  return error.message();
}

}  // namespace

Result<json::value> read_json(std::string_view text, const JsonLimits& limits) {
  if (text.size() > limits.max_bytes)
    return fail(Code::kTooLarge, "larger than " + std::to_string(limits.max_bytes) + " bytes");
  json::parse_options options;
  options.max_depth = limits.max_depth;
  json::basic_parser<StrictHandler> parser(options);
  parser.handler().stack.reset();
  parser.handler().max_members = limits.max_members;
  error_code error;
  const std::size_t used = parser.write_some(false, text.data(), text.size(), error);
  if (error) return malformed(used, sentence(error, parser.handler().reason));
  const auto rest = text.find_first_not_of(" \t\r\n", used);
  if (rest != text.npos) return malformed(rest, "something follows the value");
  return parser.handler().stack.release();
}

Result<json::object> read_json_object(std::string_view text, const JsonLimits& limits) {
  auto value = read_json(text, limits);
  if (!value) return tl::unexpected(value.error());
  if (!value->is_object()) return fail(Code::kMalformed, "not a JSON object");
  return std::move(value->get_object());
}

}  // namespace soma
