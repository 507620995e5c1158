// What is remembered can be found: words, vectors, keys, tenants, and the log behind it.
#include "runtime/memory/memory_index.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <future>
#include <thread>

#include "soma/v1/memory.pb.h"
#include "tests/unit/projections/journal.h"

namespace soma::runtime {

namespace {

using projections::test::Journal;
using projections::test::TempFolder;

v1::Embedding direction(double angle) {
  v1::Embedding e;
  e.add_values(static_cast<float>(std::cos(angle)));
  e.add_values(static_cast<float>(std::sin(angle)));
  return e;
}

struct MemoryTest : ::testing::Test {
  MemoryTest() : journal((temp.path() / "log").string(), 4) {}

  PartitionId home(const std::string& tenant) {
    return partition_of({tenant, "memory", {}, tenant}, 4);
  }
  Position append(const std::string& tenant, const std::string& id, const v1::MemoryEvent& e) {
    v1::Frame frame;
    journal.event(frame, tenant, "memory", id, "memory.fact", e.SerializeAsString());
    return journal.append(home(tenant).value, std::move(frame));
  }
  Position remember(const std::string& tenant, const std::string& id, const std::string& text,
                    std::optional<double> angle = {}) {
    v1::MemoryEvent e;
    e.mutable_memory_remembered()->mutable_fact()->set_text(text);
    if (angle) *e.mutable_memory_remembered()->mutable_embedding() = direction(*angle);
    return append(tenant, id, e);
  }
  v1::RecallResult recall(const MemoryIndex& index, const std::string& tenant,
                          const std::string& text, std::optional<double> angle = {},
                          std::size_t top_k = 5) {
    MemoryIndex::Query q{tenant, text, {}, top_k};
    if (angle) q.vector = {direction(*angle).values(0), direction(*angle).values(1)};
    auto result = index.recall(q);
    for (int i = 1; i < result.memories_size(); ++i)
      EXPECT_LE(result.memories(i).score(), result.memories(i - 1).score());
    return result;
  }
  bool settled(const MemoryIndex& index, std::optional<Position> at_least = {}) {
    std::promise<bool> done;
    index.when_settled(at_least, [&](bool ok) { done.set_value(ok); });
    return done.get_future().get();
  }

  TempFolder temp;
  Journal journal;
};

TEST_F(MemoryTest, FollowsALogThatWasThereAndWhatComesAfter) {
  remember("acme", "m1", "Anna lives in Lisbon", 0.0);
  MemoryIndex index;
  index.follow(journal.log());
  EXPECT_TRUE(settled(index));
  EXPECT_EQ(index.size("acme"), 1U);
  const auto at = remember("acme", "m2", "Bruno lives in Porto", 1.0);
  EXPECT_TRUE(settled(index, at));  // nobody told it: it looks by itself
  auto r = recall(index, "acme", "Porto");
  ASSERT_EQ(r.memories_size(), 1);
  EXPECT_EQ(r.memories(0).memory_id(), "m2");
  EXPECT_EQ(r.index_position(), to_string(at));
}

TEST_F(MemoryTest, ObservedFramesAreTakenOnceWhateverTheLogSays) {
  MemoryIndex index;
  index.follow(journal.log());
  std::vector<Position> positions;
  for (int i = 0; i < 200; ++i) {
    positions.push_back(remember("acme", "m" + std::to_string(i), "number " + std::to_string(i)));
    if (i % 3 != 0) {  // every third is not told, as after a takeover
      auto frame = events::read_frame_at(journal.log(), positions.back());
      ASSERT_TRUE(frame);
      index.on_frame(*frame);
      index.on_frame(*frame);
    }
    if (i == 100) journal.claim(home("acme").value);
  }
  ASSERT_TRUE(settled(index, positions.back()));
  EXPECT_EQ(index.size("acme"), 200U);
  EXPECT_EQ(index.stats().facts, 200U);
}

TEST_F(MemoryTest, AWriteIsFoundByTheNextRecall) {
  MemoryIndex index;
  index.follow(journal.log());
  ASSERT_TRUE(settled(index));
  for (int i = 0; i < 100; ++i) {
    const std::string word = "word" + std::to_string(i);
    const auto at = remember("acme", "m" + std::to_string(i), "it is " + word);
    index.on_frame(*events::read_frame_at(journal.log(), at));
    ASSERT_TRUE(settled(index));  // no position given
    EXPECT_EQ(recall(index, "acme", word).memories(0).memory_id(), "m" + std::to_string(i));
  }
}

// It is asked what has come until now, however much goes on coming.
TEST_F(MemoryTest, WhatComesMeanwhileDegradesNoAnswer) {
  MemoryIndex index;
  std::vector<events::ValidFrame> frames;
  for (int i = 0; i < 300; ++i)
    frames.push_back(*events::read_frame_at(
        journal.log(), remember("acme", "m" + std::to_string(i), "number " + std::to_string(i))));
  index.follow(journal.log());
  ASSERT_TRUE(settled(index));
  std::atomic<bool> enough{false};
  std::thread others([&] {
    for (std::size_t i = 0; !enough; ++i) {
      index.on_frame(frames[i % frames.size()]);
      settled(index);  // so that it is so, now and then
    }
  });
  int late = 0;
  for (int i = 0; i < 200'000; ++i) late += !settled(index);
  enough = true;
  others.join();
  EXPECT_EQ(late, 0);
}

TEST_F(MemoryTest, APositionThatNeverComesIsNotWaitedForForEver) {
  MemoryIndex index;
  index.follow(journal.log());
  EXPECT_FALSE(settled(index, Position{PartitionId{0}, Offset{1'000'000}}));
}

TEST_F(MemoryTest, StopEndsWaits) {
  auto index = std::make_unique<MemoryIndex>();
  index->follow(journal.log());
  std::promise<bool> done;
  index->when_settled(Position{PartitionId{0}, Offset{1'000'000}},
                      [&](bool ok) { done.set_value(ok); });
  index->stop();
  EXPECT_FALSE(done.get_future().get());
  bool told = false;  // nothing of later ones is left for a thread that outlives what they ask
  index->when_settled(Position{PartitionId{0}, Offset{1'000'000}}, [&](bool ok) { told = !ok; });
  EXPECT_TRUE(told);
}

TEST_F(MemoryTest, TheNewestFactWithAKeyWinsAndForgottenOnesAreGone) {
  MemoryIndex index;
  remember("acme", "key", "the code is alpha7", 0.0);
  remember("acme", "key", "the code is bravo8", 1.5);
  remember("acme", "other", "nothing of that kind", 0.7);
  ASSERT_TRUE(index.rebuild(journal.log()));
  EXPECT_EQ(recall(index, "acme", "alpha7").memories_size(), 0);
  EXPECT_EQ(recall(index, "acme", "code", 1.4).memories(0).text(), "the code is bravo8");
  EXPECT_EQ(index.size("acme"), 2U);
  v1::MemoryEvent e;
  e.mutable_memory_forgotten()->set_reason("asked");
  index.on_frame(*events::read_frame_at(journal.log(), append("acme", "key", e)));
  EXPECT_EQ(recall(index, "acme", "bravo8").memories_size(), 0);
  const auto left = recall(index, "acme", "code", 1.5);
  for (const auto& m : left.memories()) EXPECT_NE(m.memory_id(), "key");
}

TEST_F(MemoryTest, AFactWithoutAVectorIsFoundByWordsAndLaterByMeaning) {
  MemoryIndex index;
  remember("acme", "m", "Anna lives in Lisbon");
  remember("acme", "far", "unrelated", 1.5);
  ASSERT_TRUE(index.rebuild(journal.log()));
  EXPECT_EQ(recall(index, "acme", "lisbon").memories(0).retriever(), "lexical");
  v1::MemoryEvent e;
  *e.mutable_memory_embedded()->mutable_embedding() = direction(0.1);
  index.on_frame(*events::read_frame_at(journal.log(), append("acme", "m", e)));
  auto r = recall(index, "acme", "where is home", 0.1);
  ASSERT_GE(r.memories_size(), 1);
  EXPECT_EQ(r.memories(0).memory_id(), "m");
  EXPECT_EQ(r.memories(0).retriever(), "vector");
}

TEST_F(MemoryTest, NeverAnotherTenants) {
  MemoryIndex index;
  remember("acme", "secret", "the launch code is 7734-XQ", 0.0);
  remember("evil", "mine", "hello", 0.0);
  ASSERT_TRUE(index.rebuild(journal.log()));
  for (const char* tenant : {"evil", "", "acme/", "nobody"}) {
    const auto found = recall(index, tenant, "launch code 7734-XQ", 0.0, 200);
    for (const auto& m : found.memories()) EXPECT_EQ(m.memory_id(), "mine") << tenant;
  }
}

TEST_F(MemoryTest, AnExactRareTokenRanksItsMemoryFirst) {
  MemoryIndex index;
  // Close in meaning and full of the query's common words, but without the token.
  for (int i = 0; i < 30; ++i)
    remember("acme", "near" + std::to_string(i), "what is the status of the ticket about the order",
             0.0);
  remember("acme", "exact", "ZX9981b was closed", 1.2);
  ASSERT_TRUE(index.rebuild(journal.log()));
  for (const char* query : {"ZX9981b", "what is the status of ticket zx9981b?"})
    EXPECT_EQ(recall(index, "acme", query, 0.0).memories(0).memory_id(), "exact") << query;
}

}  // namespace

}  // namespace soma::runtime
