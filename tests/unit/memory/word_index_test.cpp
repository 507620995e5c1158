// Word search: ranking, removal, any order of adding, and words that tell nothing.
#include "runtime/memory/word_index.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <map>
#include <random>

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

// The formula as it is written down: a term for each occurrence of each word of the query. For
// words that are no function words, in an index that is not large.
std::map<std::uint64_t, double> by_occurrence(const std::map<std::uint64_t, std::string>& documents,
                                              const std::string& query) {
  std::map<std::uint64_t, std::map<std::string, int>> counts;
  std::map<std::uint64_t, double> lengths, scores;
  double n = 0, total = 0, all = 0;
  for (const auto& [id, text] : documents) {
    ++n;
    for (const auto& word : words_of(text)) ++counts[id][word], ++lengths[id], ++total;
  }
  for (const auto& word : words_of(query)) {
    double df = 0;
    for (const auto& [id, words] : counts) df += words.contains(word) ? 1 : 0;
    const double weight = std::log(1 + (n - df + 0.5) / (df + 0.5));
    all += df > 0 ? weight : weight / 2;
    for (const auto& [id, words] : counts)
      if (const auto w = words.find(word); w != words.end())
        scores[id] += weight * w->second * 2.2 /
                      (w->second + 1.2 * (0.25 + 0.75 * lengths[id] / (total / n)));
  }
  for (auto& [id, score] : scores) score = std::min(1.0, score / all);
  return scores;
}

TEST(WordIndex, AWordThatIsAskedOftenWeighsAsOften) {
  std::mt19937 random(11);
  const auto text = [&](std::size_t most) {
    std::string out;
    for (std::size_t i = 1 + random() % most; i > 0; --i)
      out += "w" + std::to_string(random() % 30) + " ";
    return out;
  };
  for (int round = 0; round < 50; ++round) {
    WordIndex index;
    std::map<std::uint64_t, std::string> documents;
    for (std::uint64_t id = 1; id <= 20; ++id) index.add(id, documents[id] = text(12));
    const std::string query = text(60);
    const auto right = by_occurrence(documents, query);
    const auto found = index.search(query);
    ASSERT_EQ(found.size(), right.size());
    for (const auto& [id, score] : right) EXPECT_NEAR(found.at(id).score, score, 1e-12) << query;
  }
}

TEST(WordIndex, RepeatingAWordCostsNoSearchMore) {
  WordIndex index;
  for (std::uint64_t id = 1; id <= 20'000; ++id) index.add(id, "parcel");
  const auto once = index.search("parcel");
  std::string often;
  for (int i = 0; i < 9000; ++i) often += "parcel ";
  const auto began = std::chrono::steady_clock::now();
  const auto found = index.search(often);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(500));
  ASSERT_EQ(found.size(), once.size());
  EXPECT_NEAR(found.at(1).score, once.at(1).score, 1e-9);
}

TEST(WordIndex, OfManyWordsTheRarestAreLookedUp) {
  WordIndex index;
  std::string query;
  for (std::size_t i = 0; i < WordIndex::kMaxWords; ++i) {
    index.add(i + 1, "rare" + std::to_string(i));
    query += "rare" + std::to_string(i) + " ";
  }
  index.add(1000, "common");
  index.add(1001, "common");
  const auto found = index.search("common " + query);
  EXPECT_EQ(found.size(), WordIndex::kMaxWords);
  EXPECT_FALSE(found.contains(1000));
  EXPECT_EQ(index.search("common rare0").size(), 3u);
}

}  // namespace
}  // namespace soma::runtime
