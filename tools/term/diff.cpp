// Objects by member, arrays by index.
#include "tools/term/diff.h"

#include <algorithm>
#include <string>

namespace soma::cli {

namespace json = boost::json;

namespace {

std::string escaped(std::string_view name) {
  std::string out;
  for (char c : name) out += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  return out;
}

void compare(const std::string& path, const json::value* a, const json::value* b,
             json::array& out) {
  const auto one = [&](const char* change) {
    out.push_back({{"path", path.empty() ? "/" : path},
                   {"change", change},
                   {"from", a ? *a : json::value(nullptr)},
                   {"to", b ? *b : json::value(nullptr)}});
  };
  if (!a) return one("added");
  if (!b) return one("removed");
  if (a->is_object() && b->is_object()) {
    const auto &x = a->get_object(), &y = b->get_object();
    for (const auto& [name, value] : x)
      compare(path + "/" + escaped(name), &value, y.if_contains(name), out);
    for (const auto& [name, value] : y)
      if (!x.contains(name)) compare(path + "/" + escaped(name), nullptr, &value, out);
  } else if (a->is_array() && b->is_array()) {
    const auto &x = a->get_array(), &y = b->get_array();
    for (std::size_t i = 0; i < std::max(x.size(), y.size()); ++i)
      compare(path + "/" + std::to_string(i), i < x.size() ? &x[i] : nullptr,
              i < y.size() ? &y[i] : nullptr, out);
  } else if (*a != *b) {
    one("changed");
  }
}

}  // namespace

json::array diff(const json::value& from, const json::value& to) {
  json::array out;
  compare({}, &from, &to, out);
  return out;
}

}  // namespace soma::cli
