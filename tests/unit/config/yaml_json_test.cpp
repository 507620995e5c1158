// YAML as JSON: scalars as they look, what is quoted as text, and bounds.
#include "runtime/config/yaml_json.h"

#include <gtest/gtest.h>

#include <boost/json/serialize.hpp>

namespace soma::runtime {
namespace {

std::string read(const std::string& text) {
  auto v = json_of_yaml(text);
  return v ? boost::json::serialize(*v) : "! " + v.error().message;
}

TEST(YamlJson, ScalarsAreWhatTheyLookLikeAndQuotedOnesText) {
  EXPECT_EQ(read("a: 1\nb: 0.5\nc: 'true'\nd: [true, null, x y, \"7\", -3, nan]"),
            R"({"a":1,"b":5E-1,"c":"true","d":[true,null,"x y","7",-3,"nan"]})");
  EXPECT_EQ(read(R"({"a": {"b": ["c", 2]}})"), R"({"a":{"b":["c",2]}})");
  EXPECT_EQ(read(""), "null");
}

TEST(YamlJson, WhatIsNotSoundIsRefusedWithItsLine) {
  EXPECT_EQ(read("a: 1\na: 2"), "! line 2: a is given twice");
  EXPECT_EQ(read("a: 1\n? [x]\n: 2"), "! line 2: a key is no text");
  EXPECT_EQ(read("a: [1").substr(0, 7), "! line ");
  std::string bomb = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 10; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    bomb += "b" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before + ", " + before +
            ", " + before + ", " + before + ", " + before + ", " + before + ", " + before + "]\n";
  }
  EXPECT_EQ(read(bomb).substr(0, 11), "! the YAML ");
  EXPECT_EQ(read(std::string(40, '[') + std::string(40, ']')).substr(0, 11), "! the YAML ");
}

}  // namespace
}  // namespace soma::runtime
