// Where a page begins and ends.
#include "runtime/api/pages.h"

#include <algorithm>
#include <boost/json/object.hpp>

#include "schemas/json/json_text.h"

namespace soma::runtime::api {

namespace json = boost::json;

namespace {

constexpr std::size_t kMaxCursor = 600;  // bytes

std::string text_of(const json::value& v) {
  return v.is_string() ? std::string(v.get_string()) : json_text(v);
}

}  // namespace

std::vector<http::Field> page_fields() {
  return {limit_field(), {.name = "cursor", .max_length = kMaxCursor}};
}

http::Response page_of(const http::Request& r, json::array all, std::string_view key,
                       std::string_view items, json::object beside) {
  auto from = all.begin();
  if (const std::string cursor = r.query_value("cursor").value_or(""); !cursor.empty()) {
    from = std::find_if(all.begin(), all.end(),
                        [&](const json::value& item) { return text_of(item.at(key)) == cursor; });
    if (from == all.end())
      return http::field_error({"query", "cursor"}, "must be one that this list gave", "cursor");
    ++from;
  }
  const auto to = from + std::min(all.end() - from, r.query_int("limit", kListDefault));
  json::value next;
  if (to != all.end() && to != from) next = text_of((to - 1)->at(key));
  beside[items] = json::array(std::make_move_iterator(from), std::make_move_iterator(to));
  beside["next_cursor"] = std::move(next);
  return http::json_response(200, beside);
}

}  // namespace soma::runtime::api
