// Completion scripts and the man page hold every command and option of the tree.
#include "tools/term/completion.h"

#include <gtest/gtest.h>

namespace soma::cli {
namespace {

CommandNode sample() {
  CommandNode show{"show", "It's shown", "soma thing show -x", Effect::kRead, {}, {}, {}};
  show.options.push_back({{"--at"}, "AT", "Where", {}, false});
  CommandNode thing{"thing", "Things", "", Effect::kRead, {}, {}, {show}};
  CommandNode root{"soma", "The root", "", Effect::kRead, {}, {}, {thing}};
  root.options.push_back({{"-o", "--output"}, "FORM", "Form", {"table", "json"}, false});
  return root;
}

TEST(Completion, EveryShellKnowsCommandsOptionsAndChoices) {
  for (const auto& script :
       {bash_completion(sample()), zsh_completion(sample()), fish_completion(sample())}) {
    for (const char* word : {"thing", "show", "output", "table json"})
      EXPECT_NE(script.find(word), script.npos) << word << " in\n" << script;
  }
  EXPECT_NE(bash_completion(sample()).find("' thing show') offer='--at -o --output --help'"),
            std::string::npos);
}

TEST(Completion, QuotesSurviveInFish) {
  EXPECT_NE(fish_completion(sample()).find("'It'\\''s shown'"), std::string::npos);
}

TEST(Man, EscapesDashesAndHasExitStatus) {
  const std::string man = man_page(sample(), "1.0");
  EXPECT_NE(man.find(".SS \"soma thing show\""), man.npos);
  EXPECT_NE(man.find("\\-\\-at AT"), man.npos);
  EXPECT_NE(man.find("integrity"), man.npos);
  EXPECT_NE(man.find("soma thing show \\-x"), man.npos);
}

}  // namespace
}  // namespace soma::cli
