// The file of heads: each tenant's own alone, whatever its name holds, and at no cost of the
// others'.
#include "runtime/audit/heads.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>

#include "tests/unit/events/log_fixture.h"

namespace soma::runtime::audit {
namespace {

SignedHead head_of(const std::string& tenant, std::uint64_t records,
                   const std::string& jws = "a.b.c") {
  SignedHead out{{tenant, 7, {}}, jws, "key"};
  out.head.partitions.push_back({PartitionId{0}, records, "root", {}, {}, {}, "hash"});
  return out;
}

class Heads : public ::testing::Test {
 protected:
  std::size_t count(const std::string& tenant) const { return file.of(tenant).size(); }
  events::test::TempFolder temp;
  const HeadFile file{temp.path().string()};
};

TEST_F(Heads, NamesThatResembleEachOtherAreApart) {
  const std::vector<std::string> names{"a",  "ab", "a\"",  "a\",\"x\":\"", "\\", "a\\",
                                       "a/", "\n", "a\nb", "\u00e4",       ""};
  std::vector<SignedHead> heads;
  for (std::size_t i = 0; i < names.size(); ++i)
    for (std::size_t n = 0; n <= i; ++n) heads.push_back(head_of(names[i], n));
  ASSERT_TRUE(file.append(heads));
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto own = file.of(names[i]);
    ASSERT_EQ(own.size(), i + 1) << names[i];
    for (std::size_t n = 0; n <= i; ++n) {
      EXPECT_EQ(own[n].at("tenant").as_string(), names[i]);
      EXPECT_EQ(own[n].at("records").to_number<std::size_t>(), n);
    }
  }
}

TEST_F(Heads, TheLastOnesAreKeptAndACutLineIsNone) {
  std::vector<SignedHead> heads;
  for (std::size_t n = 0; n < HeadFile::kMost + 5; ++n) heads.push_back(head_of("acme", n));
  ASSERT_TRUE(file.append(heads));
  EXPECT_EQ(file.of("acme").front().at("records").to_number<int>(), 5);
  EXPECT_EQ(count("acme"), HeadFile::kMost);
  std::ofstream(temp.path() / "audit/heads.ndjson", std::ios::app) << R"({"tenant":"b","time)";
  EXPECT_EQ(count("b"), 0U);
  ASSERT_TRUE(file.append(std::vector{head_of("b", 1)}));
  EXPECT_EQ(count("b"), 1U);
}

TEST_F(Heads, OthersLinesAreNotParsed) {
  const std::string jws(100, 'x');
  std::vector<SignedHead> heads;
  for (int i = 0; i < 20'000; ++i) heads.push_back(head_of("other", 1, jws));
  heads.push_back(head_of("acme", 1, jws));
  ASSERT_TRUE(file.append(heads));
  const auto took = [](const auto& what) {
    auto best = std::chrono::steady_clock::duration::max();
    for (int i = 0; i < 5; ++i) {
      const auto began = std::chrono::steady_clock::now();
      what();
      best = std::min(best, std::chrono::steady_clock::now() - began);
    }
    return best;
  };
  std::string line;
  std::getline(std::ifstream(temp.path() / "audit/heads.ndjson"), line);
  const auto parsing = took([&] {
    for (std::size_t i = 0; i < heads.size(); ++i) (void)boost::json::parse(line);
  });
  EXPECT_LT(took([&] { EXPECT_EQ(count("acme"), 1U); }), parsing);
}

}  // namespace
}  // namespace soma::runtime::audit
