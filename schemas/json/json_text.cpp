// Boost.JSON writes strings; numbers are ours.
#include "schemas/json/json_text.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <charconv>
#include <cmath>
#include <string_view>
#include <utility>

namespace soma {
namespace {

namespace json = boost::json;

void append(std::string& out, double x) {
  if (!std::isfinite(x)) {
    out += "null";
    return;
  }
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, x).ptr;
  const std::string_view number(text, static_cast<std::size_t>(end - text));
  out += number;
  if (number.find_first_of(".e") == std::string_view::npos) out += ".0";
}

void append(std::string& out, const json::value& v);

void append(std::string& out, const json::object& object) {
  char before = '{';
  for (const auto& member : object) {
    out.push_back(std::exchange(before, ','));
    out += json::serialize(member.key());
    out.push_back(':');
    append(out, member.value());
  }
  if (before == '{') out.push_back('{');
  out.push_back('}');
}

void append(std::string& out, const json::value& v) {
  switch (v.kind()) {
    case json::kind::array: {
      char before = '[';
      for (const auto& item : v.get_array()) {
        out.push_back(std::exchange(before, ','));
        append(out, item);
      }
      if (before == '[') out.push_back('[');
      out.push_back(']');
      return;
    }
    case json::kind::object:
      return append(out, v.get_object());
    case json::kind::double_:
      return append(out, v.get_double());
    default:
      out += json::serialize(v);
  }
}

}  // namespace

std::string json_text(const json::value& value) {
  std::string out;
  append(out, value);
  return out;
}

std::string json_text(const json::object& object) {
  std::string out;
  append(out, object);
  return out;
}

}  // namespace soma
