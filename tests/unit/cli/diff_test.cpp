// Differences of JSON values.
#include "tools/term/diff.h"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

namespace soma::cli {
namespace {

namespace json = boost::json;

std::string between(const char* a, const char* b) {
  return json::serialize(diff(json::parse(a), json::parse(b)));
}

TEST(Diff, EqualValuesHaveNone) {
  EXPECT_EQ(between(R"({"a":[1,{"b":2}]})", R"({"a":[1,{"b":2}]})"), "[]");
}

TEST(Diff, NamesTheSmallestPlaces) {
  EXPECT_EQ(between(R"({"a":[1,{"b":2}],"gone":1})", R"({"a":[1,{"b":3}],"new":null})"),
            R"([{"path":"/a/1/b","change":"changed","from":2,"to":3},)"
            R"({"path":"/gone","change":"removed","from":1,"to":null},)"
            R"({"path":"/new","change":"added","from":null,"to":null}])");
}

TEST(Diff, ListsByIndex) {
  EXPECT_EQ(between("[1]", "[1,2]"), R"([{"path":"/1","change":"added","from":null,"to":2}])");
}

TEST(Diff, PointersAreEscaped) {
  EXPECT_EQ(between(R"({"a/b":1})", R"({"a/b":2})"),
            R"([{"path":"/a~1b","change":"changed","from":1,"to":2}])");
}

}  // namespace
}  // namespace soma::cli
