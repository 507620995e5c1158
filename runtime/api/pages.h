// Pages of lists: what ?limit= and ?cursor= ask for of what is whole in memory.
#pragma once

#include <boost/json/array.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/api/submit.h"

namespace soma::runtime::api {

inline constexpr std::int64_t kListDefault = 50;

std::vector<http::Field> page_fields();  // ?limit= and ?cursor=

// {items, next_cursor} of a map in its order, whose keys are texts. The cursor is the last key
// shown, whether or not it is still there.
template <typename All, typename View>
http::Response page_by_key(const All& all, const http::Request& r, const View& view) {
  auto at = all.upper_bound(r.query_value("cursor").value_or(""));
  const auto limit = static_cast<std::size_t>(r.query_int("limit", kListDefault));
  boost::json::array items;
  boost::json::value next;
  for (; at != all.end() && items.size() < limit; ++at) {
    items.push_back(view(at->second));
    next = at->first;
  }
  if (at == all.end()) next = nullptr;
  return http::json_response(
      200, boost::json::object{{"items", std::move(items)}, {"next_cursor", next}});
}

// The same of items that stay, in an order of their own; the cursor is what `key` is in the last
// one shown. 422 where none has it. `items`: the list's name; `beside`: further members.
http::Response page_of(const http::Request& r, boost::json::array all, std::string_view key,
                       std::string_view items = "items", boost::json::object beside = {});

}  // namespace soma::runtime::api
