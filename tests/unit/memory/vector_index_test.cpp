// Vectors are found exactly while scanned, well by the graph, and at every moment in between.
#include "runtime/memory/vector_index.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>
#include <random>
#include <shared_mutex>
#include <thread>

namespace soma::runtime {
namespace {

constexpr std::size_t kDimension = 37;  // no multiple of a register's lanes

class VectorIndexTest : public ::testing::Test {
 protected:
  std::vector<float> unit_vector() {
    std::normal_distribution<float> normal;
    std::vector<float> v(kDimension);
    float sum = 0;
    for (float& x : v) x = normal(random_), sum += x * x;
    for (float& x : v) x /= std::sqrt(sum);
    return v;
  }
  void fill(VectorIndex& index, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      known_[++last_] = unit_vector();
      index.add(last_, known_[last_]);
    }
  }
  // Labels, nearest first, by a plain loop.
  std::vector<std::uint64_t> expected(const std::vector<float>& query, std::size_t want) const {
    std::vector<std::pair<double, std::uint64_t>> all;
    for (const auto& [label, v] : known_) {
      double sum = 0;
      for (std::size_t i = 0; i < kDimension; ++i) sum += static_cast<double>(v[i]) * query[i];
      all.emplace_back(-sum, label);
    }
    std::sort(all.begin(), all.end());
    std::vector<std::uint64_t> out;
    for (std::size_t i = 0; i < std::min(want, all.size()); ++i) out.push_back(all[i].second);
    return out;
  }
  static std::vector<std::uint64_t> found(const VectorIndex& index, const std::vector<float>& query,
                                          std::size_t want) {
    auto hits = index.nearest(query, want);
    std::sort(hits.begin(), hits.end(),
              [](const auto& a, const auto& b) { return a.second > b.second; });
    std::vector<std::uint64_t> out;
    for (const auto& [label, score] : hits) out.push_back(label);
    return out;
  }
  double recall(const VectorIndex& index, std::size_t want, int queries) {
    std::size_t hit = 0;
    for (int q = 0; q < queries; ++q) {
      const auto query = unit_vector();
      const auto right = expected(query, want);
      for (const auto label : found(index, query, want))
        hit += static_cast<std::size_t>(std::count(right.begin(), right.end(), label));
    }
    return static_cast<double>(hit) / static_cast<double>(want * static_cast<std::size_t>(queries));
  }

  std::mt19937 random_{7};
  std::map<std::uint64_t, std::vector<float>> known_;
  std::uint64_t last_ = 0;
};

TEST_F(VectorIndexTest, FewVectorsAreFoundExactly) {
  VectorIndex index(kDimension);
  fill(index, 500);
  for (std::uint64_t label : {3, 77, 500, 250}) {
    index.remove(label);
    known_.erase(label);
  }
  EXPECT_FALSE(index.wants_indexing());
  EXPECT_EQ(index.size(), 496U);
  for (int i = 0; i < 20; ++i) {
    const auto query = unit_vector();
    EXPECT_EQ(found(index, query, 10), expected(query, 10));
  }
}

TEST_F(VectorIndexTest, NothingWantedOrNothingThereGivesNothing) {
  VectorIndex index(kDimension);
  EXPECT_TRUE(index.nearest(unit_vector(), 10).empty());
  fill(index, 3);
  EXPECT_TRUE(index.nearest(unit_vector(), 0).empty());
  EXPECT_EQ(index.nearest(unit_vector(), 10).size(), 3U);
}

TEST_F(VectorIndexTest, PastTheLimitNothingIsMissedWhileTheGraphIsBehind) {
  VectorIndex index(kDimension, 200);
  fill(index, 1000);
  ASSERT_TRUE(index.wants_indexing());
  const auto query = unit_vector();
  EXPECT_EQ(found(index, query, 10), expected(query, 10)) << "none in the graph: still exact";
  index.index_some(500);
  EXPECT_GE(recall(index, 10, 30), 0.95) << "half in the graph";
  while (index.index_some(64)) {
  }
  EXPECT_FALSE(index.wants_indexing());
  EXPECT_GE(recall(index, 10, 30), 0.95) << "all in the graph";
  fill(index, 5);
  const auto newest = known_.at(last_);
  EXPECT_EQ(found(index, newest, 1), (std::vector<std::uint64_t>{last_}));
}

TEST_F(VectorIndexTest, WhatWasRemovedIsNeverFoundAgain) {
  VectorIndex index(kDimension, 100);
  fill(index, 600);
  index.index_some(300);  // the later half is in the graph
  std::vector<std::vector<float>> gone;
  for (std::uint64_t label = 1; label <= 600; label += 3) {
    gone.push_back(known_.at(label));
    index.remove(label);
    known_.erase(label);
  }
  while (index.index_some(64)) {
  }
  for (const auto& v : gone)
    for (const auto& [label, score] : index.nearest(v, 20)) EXPECT_TRUE(known_.contains(label));
}

TEST_F(VectorIndexTest, AGraphOfMostlyRemovedVectorsIsBuiltAnew) {
  VectorIndex index(kDimension, 100);
  fill(index, 400);
  while (index.index_some(64)) {
  }
  const auto remove_until = [&](std::uint64_t last) {
    for (auto it = known_.begin(); it != known_.end() && it->first <= last; it = known_.erase(it))
      index.remove(it->first);
  };
  remove_until(200);
  EXPECT_FALSE(index.wants_indexing()) << "half of it";
  remove_until(201);
  EXPECT_TRUE(index.wants_indexing());
  const auto query = unit_vector();
  EXPECT_EQ(found(index, query, 10), expected(query, 10));
  while (index.index_some(64)) {
  }
  EXPECT_GE(recall(index, 10, 30), 0.95);
  remove_until(301);
  EXPECT_FALSE(index.wants_indexing()) << "so few are scanned";
  EXPECT_EQ(found(index, query, 10), expected(query, 10));
  fill(index, 2);
  EXPECT_TRUE(index.wants_indexing());
}

TEST_F(VectorIndexTest, SearchesGoOnBesideTheIndexer) {
  VectorIndex index(kDimension, 100);
  fill(index, 3000);
  std::shared_mutex mutex;  // as the owner uses it
  std::thread indexer([&] {
    for (bool more = true; more;) {
      std::shared_lock lock(mutex);
      more = index.index_some(1);
    }
  });
  for (int i = 0; i < 200; ++i) {
    const auto query = known_.at(1 + random_() % last_);
    std::shared_lock lock(mutex);
    EXPECT_EQ(index.nearest(query, 5).size(), 5U);
  }
  indexer.join();
  EXPECT_GE(recall(index, 10, 20), 0.9);
}

}  // namespace
}  // namespace soma::runtime
