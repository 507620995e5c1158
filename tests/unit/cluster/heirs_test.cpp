// Whom a partition goes to when its owner is gone.
#include "runtime/cluster/heirs.h"

#include <gtest/gtest.h>

namespace soma::runtime {

namespace {

using Names = std::vector<std::string>;

events::GroupView group(const std::map<std::string, std::set<std::uint32_t>>& given) {
  events::GroupView out;
  out.stable = true;
  for (const auto& [node, partitions] : given) {
    events::GroupView::Member m{node, node + "-5f2c", {}};
    for (const auto p : partitions) m.given.insert(PartitionId{p});
    out.members.push_back(std::move(m));
  }
  return out;
}

Names heirs_of(const events::GroupView& g, std::uint32_t partition, std::size_t count) {
  const auto all = heirs(g, count);
  const auto it = all.find(PartitionId{partition});
  return it == all.end() ? Names{} : it->second;
}

TEST(Heirs, GoToWhoeverHasFewestTheHighestPartitionFirst) {
  const auto g = group({{"a", {0, 1, 2}}, {"b", {3, 4, 5}}, {"c", {6, 7}}});
  EXPECT_EQ(heirs_of(g, 2, 1), Names{"c"});  // c had two
  EXPECT_EQ(heirs_of(g, 1, 1), Names{"b"});  // now both have three: the first by name
  EXPECT_EQ(heirs_of(g, 0, 1), Names{"c"});
  EXPECT_EQ(heirs_of(g, 7, 1), Names{"a"});
  EXPECT_EQ(heirs_of(g, 6, 1), Names{"b"});
}

TEST(Heirs, AreSharedEvenlyAndNeverTheOwner) {
  const auto g = group(
      {{"a", {0, 4, 8, 12}}, {"b", {1, 5, 9, 13}}, {"c", {2, 6, 10, 14}}, {"d", {3, 7, 11, 15}}});
  for (const auto& owner : g.members) {
    std::map<std::string, int> more;
    for (const auto p : owner.given) {
      const auto h = heirs_of(g, p.value, 1);
      ASSERT_EQ(h.size(), 1u);
      EXPECT_NE(h[0], owner.node_id);
      ++more[h[0]];
    }
    for (const auto& [node, n] : more) EXPECT_LE(n, 2) << node;
  }
}

TEST(Heirs, TheSecondFollowsOwnerAndFirst) {
  const auto g = group({{"a", {0, 1}}, {"b", {2, 3}}, {"c", {4}}});
  EXPECT_EQ(heirs_of(g, 1, 2), (Names{"c", "b"}));
  EXPECT_EQ(heirs_of(g, 0, 2), (Names{"b", "c"}));
  EXPECT_EQ(heirs_of(g, 0, 9), (Names{"b", "c"}));  // there are no more
  EXPECT_EQ(heirs_of(g, 0, 0), Names{});
}

TEST(Heirs, ANodeThatHasNothingYetIsTheFirst) {
  const auto g = group({{"a", {0, 1}}, {"b", {2}}, {"z", {}}});
  EXPECT_EQ(heirs_of(g, 1, 1), Names{"z"});
  EXPECT_EQ(heirs_of(g, 2, 1), Names{"z"});
}

TEST(Heirs, NamesAreOrderedAsTheGroupOrdersItsMembers) {
  auto g = group({{"n1", {0}}, {"n10", {}}, {"n1!", {}}});
  EXPECT_EQ(heirs_of(g, 0, 1), Names{"n1!"});  // "n1!-5f2c" before "n10-5f2c"
}

TEST(Heirs, ALoneNodeHasNone) {
  EXPECT_EQ(heirs_of(group({{"a", {0, 1}}}), 0, 1), Names{});
  EXPECT_TRUE(heirs(group({}), 1).empty());
}

}  // namespace

}  // namespace soma::runtime
