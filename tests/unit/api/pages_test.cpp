// Pages of lists: limit, cursor, and where they end.
#include "runtime/api/pages.h"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <map>

namespace soma::runtime::api {
namespace {

namespace json = boost::json;

http::Request asking(const std::string& cursor, const std::string& limit = {}) {
  http::Request r;
  if (!cursor.empty()) r.query.emplace("cursor", cursor);
  if (!limit.empty()) r.query.emplace("limit", limit);
  return r;
}

json::object body_of(const http::Response& response) {
  EXPECT_EQ(response.status, 200) << response.body;
  return json::parse(response.body).as_object();
}

json::array versions(int newest) {
  json::array all;
  for (int v = newest; v > 0; --v) all.push_back(json::object{{"version", v}});
  return all;
}

TEST(Pages, GoOnBehindTheLastOneShown) {
  std::string seen, cursor;
  int pages = 0;
  do {
    const auto page = body_of(page_of(asking(cursor, "2"), versions(5), "version"));
    for (const auto& item : page.at("items").as_array())
      seen += json::serialize(item.at("version"));
    const auto& next = page.at("next_cursor");
    cursor = next.is_null() ? "" : std::string(next.as_string());
    ++pages;
  } while (!cursor.empty());
  EXPECT_EQ(seen, "54321");
  EXPECT_EQ(pages, 3);
}

TEST(Pages, HaveFiftyItemsUnlessTheLimitSaysOtherwise) {
  const auto page = body_of(page_of(asking(""), versions(51), "version"));
  EXPECT_EQ(page.at("items").as_array().size(), 50u);
  EXPECT_EQ(page.at("next_cursor"), "2");
  const auto whole = body_of(page_of(asking("", "51"), versions(51), "version"));
  EXPECT_TRUE(whole.at("next_cursor").is_null()) << "nothing is behind it";
  EXPECT_TRUE(body_of(page_of(asking(""), {}, "version")).at("items").as_array().empty());
}

TEST(Pages, ACursorThatTheListNeverGaveIsRefused) {
  for (const char* cursor : {"garbage", "9", "-1", "05"})
    EXPECT_EQ(page_of(asking(cursor), versions(5), "version").status, 422) << cursor;
  EXPECT_EQ(page_of(asking("x"), {}, "version").status, 422);
}

TEST(Pages, MayHaveAnotherNameAndMembersBeside) {
  const auto page = body_of(page_of(asking(""), json::array{json::object{{"id", "m"}}}, "id",
                                    "data", {{"object", "list"}}));
  EXPECT_EQ(page.at("object"), "list");
  EXPECT_EQ(page.at("data").as_array().size(), 1u);
}

TEST(Pages, OfWhatComesAndGoesBeginBehindTheKey) {
  std::map<std::string, int> all{{"a", 1}, {"b", 2}, {"c", 3}};
  const auto view = [](int i) { return json::value(i); };
  const auto first = body_of(page_by_key(all, asking("", "2"), view));
  EXPECT_EQ(first.at("items"), json::parse("[1,2]"));
  EXPECT_EQ(first.at("next_cursor"), "b");
  all.erase("b");
  const auto second = body_of(page_by_key(all, asking("b", "2"), view));
  EXPECT_EQ(second.at("items"), json::parse("[3]"));
  EXPECT_TRUE(second.at("next_cursor").is_null());
}

}  // namespace
}  // namespace soma::runtime::api
