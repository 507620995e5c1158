// Word search: ranking, removal, any order of adding, and words that tell nothing.
#include "runtime/memory/word_index.h"

#include <gtest/gtest.h>

namespace soma::runtime {
namespace {

TEST(WordIndex, RareWordsRankFirstAndRemovalLeavesNothing) {
  WordIndex index;
  index.add(1, "the cat sat on the mat");
  index.add(2, "the dog sat");
  index.add(3, "zyx-42 sat");
  const auto scores = index.search("sat zyx");
  ASSERT_EQ(scores.size(), 3u);
  EXPECT_GT(scores.at(3).score, scores.at(1).score);
  EXPECT_GT(scores.at(3).score, scores.at(2).score);
  index.remove(3);
  EXPECT_EQ(index.search("zyx").size(), 0u);
  EXPECT_EQ(index.search("sat").size(), 2u);
}

TEST(WordIndex, OrderOfAddingDoesNotMatter) {
  WordIndex rising, falling;
  for (std::uint64_t id = 1; id <= 50; ++id)
    rising.add(id, "fact " + std::to_string(id % 7) + " again");
  for (std::uint64_t id = 50; id >= 1; --id)
    falling.add(id, "fact " + std::to_string(id % 7) + " again");
  EXPECT_EQ(rising.search("fact 3"), falling.search("fact 3"));
  falling.remove(3);
  EXPECT_FALSE(falling.search("3").contains(3));
  EXPECT_TRUE(falling.search("3").contains(10));
}

TEST(WordIndex, FewFactsAreNotRankedByTheWordsOfTheQuestion) {
  WordIndex index;
  index.add(1, "Ada takes her coffee black");
  index.add(2, "the meeting is on Monday and it is in the large room");
  index.add(3, "we were to ask him");
  const auto scores = index.search("how does Ada like it in the morning");
  EXPECT_GT(scores.at(1).score, 0.1);
  EXPECT_LT(scores.at(2).score, scores.at(1).score / 2);
}

TEST(WordIndex, AScoreIsTheShareOfWhatIsAsked) {
  WordIndex index;
  index.add(1, "alpha beta");
  index.add(2, "gamma delta");
  EXPECT_DOUBLE_EQ(index.search("alpha beta").at(1).score, 1.0);
  EXPECT_NEAR(index.search("alpha gamma").at(1).score, 0.5, 1e-9);
  EXPECT_LT(index.search("alpha omega").at(1).score, 1.0);
  EXPECT_TRUE(index.search("").empty());
}

TEST(WordIndex, InALargeIndexCommonWordsCountOnlyAlone) {
  WordIndex index;
  for (std::uint64_t id = 1; id <= 2000; ++id)
    index.add(id, "what is new" + std::string(id == 77 ? " about quasars" : ""));
  const auto telling = index.search("what is new about quasars");
  EXPECT_EQ(telling.size(), 1u);
  EXPECT_TRUE(telling.contains(77));
  EXPECT_EQ(index.search("what is new").size(), 2000u);
}

}  // namespace
}  // namespace soma::runtime
