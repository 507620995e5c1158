// A member's assignment as groups of consumers write it, and bytes that are none.
#include "events/kafka/assignment.h"

#include <gtest/gtest.h>

namespace soma::events::kafka {
namespace {

std::string number(std::uint32_t value, int width) {
  std::string out;
  for (int i = width - 1; i >= 0; --i) out.push_back(static_cast<char>(value >> (8 * i)));
  return out;
}

std::string topic(const std::string& name, const std::vector<std::uint32_t>& partitions) {
  std::string out = number(static_cast<std::uint32_t>(name.size()), 2) + name +
                    number(static_cast<std::uint32_t>(partitions.size()), 4);
  for (const auto p : partitions) out += number(p, 4);
  return out;
}

TEST(Assignment, TellsThePartitionsOfOneTopic) {
  const auto bytes = number(1, 2) + number(2, 4) + topic("other", {7, 8}) +
                     topic("soma.events", {0, 3, 255, 70000}) + number(0, 4);
  const std::set<PartitionId> wanted{PartitionId{0}, PartitionId{3}, PartitionId{255},
                                     PartitionId{70000}};
  EXPECT_EQ(assigned(bytes, "soma.events"), wanted);
  EXPECT_EQ(assigned(bytes, "soma"), std::set<PartitionId>{});
}

TEST(Assignment, WhatIsCutOffTellsNothing) {
  const auto bytes = number(1, 2) + number(1, 4) + topic("soma.events", {1, 2});
  EXPECT_EQ(assigned(bytes, "soma.events").size(), 2u);
  for (std::size_t n = 0; n < bytes.size(); ++n)
    EXPECT_TRUE(assigned(bytes.substr(0, n), "soma.events").empty()) << n;
  // Counts beyond all there is.
  EXPECT_TRUE(assigned(number(1, 2) + number(0xFFFFFFFF, 4) + topic("t", {1}), "t").empty());
}

TEST(Assignment, ANodeIsKnownByItsClient) {
  EXPECT_EQ(node_of_client(client_of_node("a-1")), "a-1");
  EXPECT_EQ(node_of_client("somebody"), "");
}

}  // namespace
}  // namespace soma::events::kafka
