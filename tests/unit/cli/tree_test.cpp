// The tree: help, JSON, nearest names.
#include "tools/term/tree.h"

#include <gtest/gtest.h>

#include <boost/json/serialize.hpp>

namespace soma::cli {
namespace {

CommandNode sample() {
  CommandNode list{"list", "Things there are", "soma thing list", Effect::kRead, {}, {}, {}};
  list.options.push_back({{"--status"}, "STATUS", "Only these", {"old", "new"}, false});
  CommandNode drop{
      "drop", "Throw a thing away", "soma thing drop ID --yes", Effect::kDestructive, {}, {}, {}};
  drop.positionals.push_back({{"ID"}, "TEXT", "Which", {}, true});
  CommandNode thing{"thing", "Things", "", Effect::kDestructive, {}, {}, {list, drop}};
  CommandNode root{"soma", "The root", "", Effect::kDestructive, {}, {}, {thing}};
  root.options.push_back({{"-o", "--output"}, "FORM", "Form", {"table", "json"}, false});
  return root;
}

TEST(Tree, JsonHasPathsAndEffects) {
  const auto v = to_json(sample(), "");
  const auto& thing = v.at("commands").at(0);
  EXPECT_EQ(thing.at("path").as_string(), "soma thing");
  EXPECT_EQ(thing.at("commands").at(0).at("effect").as_string(), "read");
  EXPECT_EQ(thing.at("commands").at(1).at("effect").as_string(), "destructive");
  EXPECT_EQ(thing.at("commands").at(0).at("options").at(0).at("choices").as_array().size(), 2u);
}

TEST(Tree, HelpHasUsageOptionsAndExample) {
  const auto root = sample();
  const std::string help = help_text(root.children[0].children[1], "soma thing", root.options, 80);
  EXPECT_NE(help.find("Usage: soma thing drop ID [OPTIONS]"), help.npos);
  EXPECT_NE(help.find("Effect: destructive"), help.npos);
  EXPECT_NE(help.find("soma thing drop ID --yes"), help.npos);
  EXPECT_NE(help.find("-o, --output FORM"), help.npos);
}

TEST(Tree, DistanceCountsTranspositionsOnce) {
  EXPECT_EQ(edit_distance("session", "session"), 0u);
  EXPECT_EQ(edit_distance("sesion", "session"), 1u);
  EXPECT_EQ(edit_distance("ssion", "session"), 2u);
  EXPECT_EQ(edit_distance("lsit", "list"), 1u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
}

TEST(Tree, NearestNamesAreNear) {
  const std::vector<std::string> names{"session", "status", "slm", "verify", "version"};
  EXPECT_EQ(nearest("sesion", names), std::vector<std::string>{"session"});
  EXPECT_EQ(nearest("verfy", names), std::vector<std::string>{"verify"});
  EXPECT_EQ(nearest("sess", names).front(), "session");  // a beginning counts as near
  EXPECT_TRUE(nearest("bananas", names).empty());
}

}  // namespace
}  // namespace soma::cli
