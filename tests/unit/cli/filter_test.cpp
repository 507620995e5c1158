// --filter.
#include "tools/cli/filter.h"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

namespace soma::cli {
namespace {

bool matches(std::vector<std::string> conditions, const char* item) {
  auto f = Filter::parse(conditions);
  EXPECT_TRUE(f);
  return f && f->matches(boost::json::parse(item));
}

TEST(Filter, ComparesFields) {
  const char* item = R"({"state":"unknown","n":3,"in":{"x":"abc"},"ok":true,"none":null})";
  EXPECT_TRUE(matches({"state=unknown"}, item));
  EXPECT_FALSE(matches({"state=running"}, item));
  EXPECT_TRUE(matches({"state!=running"}, item));
  EXPECT_FALSE(matches({"state!=unknown"}, item));
  EXPECT_TRUE(matches({"n=3"}, item));
  EXPECT_TRUE(matches({"in.x~b"}, item));
  EXPECT_TRUE(matches({"ok=true"}, item));
  EXPECT_TRUE(matches({"none="}, item));
  EXPECT_FALSE(matches({"state=unknown", "n=4"}, item));  // all must hold
}

TEST(Filter, SaysWhatItTakes) {
  for (const char* bad : {"state", "=x", "!=x", ""}) {
    auto f = Filter::parse({bad});
    ASSERT_FALSE(f) << bad;
    EXPECT_EQ(f.error().code, Code::kInvalidArgument);
  }
}

}  // namespace
}  // namespace soma::cli
