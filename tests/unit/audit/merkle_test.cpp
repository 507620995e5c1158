// The tree against a literal reading of RFC 6962, and every way to change one leaf.
#include "events/audit/merkle.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "schemas/base/sha256.h"

namespace soma::audit {
namespace {

Hash literal_root(const std::vector<Hash>& leaves) {
  if (leaves.empty()) return sha256("");
  if (leaves.size() == 1) return leaves[0];
  std::size_t k = 1;
  while (k * 2 < leaves.size()) k *= 2;
  return node_hash(literal_root({leaves.begin(), leaves.begin() + static_cast<long>(k)}),
                   literal_root({leaves.begin() + static_cast<long>(k), leaves.end()}));
}

std::vector<Hash> some(std::size_t n) {
  std::vector<Hash> out;
  for (std::size_t i = 0; i < n; ++i) out.push_back(leaf_hash("record " + std::to_string(i)));
  return out;
}

Tree tree_of(const std::vector<Hash>& leaves) {
  Tree tree;
  for (const auto& leaf : leaves) tree.add(leaf);
  return tree;
}

TEST(Merkle, RootsAreThoseOfTheLiteralDefinition) {
  for (std::size_t n = 0; n <= 70; ++n) {
    const auto leaves = some(n);
    Frontier frontier;
    for (const auto& leaf : leaves) frontier.add(leaf);
    EXPECT_EQ(tree_of(leaves).root(), literal_root(leaves)) << n;
    EXPECT_EQ(frontier.root(), literal_root(leaves)) << n;
    EXPECT_EQ(frontier.size(), n);
  }
}

TEST(Merkle, APathLeadsToTheRootFromItsOwnPlaceOnly) {
  for (std::size_t n = 1; n <= 40; ++n) {
    const auto leaves = some(n);
    const Tree tree = tree_of(leaves);
    for (std::size_t i = 0; i < n; ++i) {
      const auto path = tree.path(i);
      EXPECT_EQ(root_of_path(leaves[i], i, n, path), tree.root());
      if (n > 1) {
        EXPECT_NE(root_of_path(leaves[i], (i + 1) % n, n, path), tree.root());
      }
      auto longer = path;
      longer.push_back(leaves[i]);
      EXPECT_EQ(root_of_path(leaves[i], i, n, longer), Hash());
    }
  }
}

TEST(Merkle, LeavesInARowCarryOneHashEachAndFailWhereTheyWereChanged) {
  for (std::size_t n : {1u, 2u, 3u, 7u, 8u, 21u, 64u, 65u}) {
    const auto leaves = some(n);
    const Tree tree = tree_of(leaves);
    std::size_t hashes = 0;
    for (std::size_t bad = 0; bad <= n; ++bad) {  // bad == n: none
      SpineReader reader(tree.root(), n);
      for (std::size_t i = 0; i < n; ++i) {
        const auto spine = tree.spine(i);
        if (bad == n) hashes += spine.size();
        ASSERT_EQ(reader.next(i == bad ? leaf_hash("other") : leaves[i], spine), i != bad);
        if (i == bad) break;
      }
      EXPECT_EQ(reader.done(), bad == n);
    }
    EXPECT_EQ(hashes, n - 1);
  }
}

TEST(Merkle, SpinesOfASparseTreeAreThoseOfTheWholeTree) {
  constexpr std::size_t kChunk = SparseTree::kChunk;
  for (std::size_t n : {std::size_t{0}, std::size_t{1}, kChunk - 1, kChunk, kChunk + 1, 2 * kChunk,
                        3 * kChunk, 3 * kChunk + 7, 5 * kChunk + 1}) {
    const auto leaves = some(n);
    const Tree whole = tree_of(leaves);
    SparseTree sparse;
    for (const auto& leaf : leaves) sparse.add(leaf);
    sparse.end();
    EXPECT_EQ(sparse.root(), whole.root()) << n;
    EXPECT_EQ(sparse.size(), n);
    Tree chunk;
    for (std::size_t i = 0; i < n; ++i) {
      if (i % kChunk == 0)
        chunk = tree_of({leaves.begin() + static_cast<long>(i),
                         leaves.begin() + static_cast<long>(std::min(n, i + kChunk))});
      ASSERT_EQ(sparse.spine(i, chunk), whole.spine(i)) << i << " of " << n;
    }
  }
}

TEST(Merkle, AChangedSpineIsFoundAtItsOwnLeaf) {
  const auto leaves = some(21);
  const Tree tree = tree_of(leaves);
  for (std::size_t bad = 0; bad < 21; ++bad)
    for (std::size_t part = 0; part < tree.spine(bad).size(); ++part) {
      SpineReader reader(tree.root(), 21);
      for (std::size_t i = 0; i < bad; ++i) ASSERT_TRUE(reader.next(leaves[i], tree.spine(i)));
      auto spine = tree.spine(bad);
      spine[part][7] ^= 1;
      EXPECT_FALSE(reader.next(leaves[bad], spine));
    }
}

}  // namespace
}  // namespace soma::audit
