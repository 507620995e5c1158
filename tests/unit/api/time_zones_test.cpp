// Zones with and without a table, and the rule behind it.
#include "runtime/api/time_zones.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "runtime/api/posix_zone.h"

namespace soma::runtime::api {
namespace {

using Changes = std::vector<std::pair<std::int64_t, std::int32_t>>;

Changes changes(const char* rule, int year) {
  const auto zone = parse_posix_zone(rule);
  EXPECT_TRUE(zone) << rule;
  return zone ? changes_of(*zone, year) : Changes{};
}

// The seconds are those that `date -u` gives for the zones' known changes.
TEST(PosixZone, YearsFollowTheRule) {
  EXPECT_EQ(changes("CET-1CEST,M3.5.0,M10.5.0/3", 2026),
            (Changes{{1774746000, 7200}, {1792890000, 3600}}));
  EXPECT_EQ(changes("EST5EDT,M3.2.0,M11.1.0", 2026),
            (Changes{{1772953200, -14400}, {1793512800, -18000}}));
  EXPECT_EQ(changes("NZST-12NZDT,M9.5.0,M4.1.0/3", 2026),
            (Changes{{1775311200, 43200}, {1790431200, 46800}}))
      << "summer ends first in the south";
  EXPECT_EQ(changes("<-02>2<-01>,M3.5.0/-1,M10.5.0/0", 2026),
            (Changes{{1774746000, -3600}, {1792890000, -7200}}))
      << "a time before the day";
  EXPECT_EQ(changes("XXX0YYY0,J60/0,59/0", 2024).front().first, 1709164800)
      << "day 59 is 29 February";
  EXPECT_EQ(changes("XXX0YYY0,J60/0,59/0", 2024).back().first, 1709251200) << "J60 is 1 March";
  EXPECT_EQ(changes("UTC0", 2026), Changes{});
}

TEST(PosixZone, WhatIsNoRuleIsNone) {
  for (const char* text :
       {"", "CET", "C-1", "CET-25", "CET-1CEST", "CET-1CEST,M3.5.0", "CET-1CEST,M13.1.0,M10.5.0",
        "CET-1CEST,M3.6.0,M10.5.0", "CET-1CEST,M3.5.7,M10.5.0", "CET-1CEST,J0,J5",
        "CET-1CEST,366,1", "CET-1CEST,M3.5.0,M10.5.0/3x", "<CET-1", "CET-1CEST,M3.5.0/168,M10.5.0"})
    EXPECT_FALSE(parse_posix_zone(text)) << text;
}

struct ZoneFile : testing::Test {
  std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "zones";
  ZoneFile() { std::filesystem::create_directories(folder / "Etc"); }
  ~ZoneFile() override { std::filesystem::remove_all(folder); }
  // TZif of version 2 with one type, an hour east, and no change in its tables.
  void write(const std::string& name, const std::string& footer) const {
    std::string header("TZif2", 5);
    header += std::string(15, '\0') + std::string(15, '\0') + '\0' + std::string(3, '\0') + '\0' +
              std::string(3, '\0') + '\1' + std::string(3, '\0') + '\4';
    header.resize(44, '\0');
    header.replace(20, 24, std::string(19, '\0') + '\1' + std::string(3, '\0') + '\4');
    const std::string body = std::string("\0\0\x0e\x10\0\0", 6) + std::string("CET\0", 4);
    std::ofstream(folder / name, std::ios::binary) << header << body << header << body << footer;
  }
  auto offsets(const std::string& zone) const {
    return zone_offsets(zone, 1767225600, "body.zone", folder.string() + "/");  // 2026-01-01
  }
};

TEST_F(ZoneFile, ASlimOneHasItsSummersToo) {
  write("Etc/UTC", "\nUTC0\n");
  write("Slim", "\nCET-1CEST,M3.5.0,M10.5.0/3\n");
  const auto found = offsets("Slim");
  ASSERT_TRUE(found) << found.error().message;
  ASSERT_EQ(found->size(), 21U) << "two a year for ten years, and now";
  EXPECT_EQ((*found)[0].offset_s(), 3600);
  EXPECT_EQ((*found)[1].from_s(), 1774746000);
  EXPECT_EQ((*found)[1].offset_s(), 7200);
  EXPECT_EQ((*found)[2].offset_s(), 3600);
}

TEST_F(ZoneFile, ARuleThatCannotBeReadIsRefused) {
  write("Etc/UTC", "\nUTC0\n");
  write("Odd", "\nCET-1CEST\n");
  write("Cut", "\nCET-1");
  write("Quiet", "\n\n");
  for (const char* zone : {"Odd", "Cut"}) {
    const auto found = offsets(zone);
    ASSERT_FALSE(found) << zone;
    EXPECT_EQ(found.error().field, "body.zone");
  }
  EXPECT_EQ(offsets("Quiet")->size(), 1U);
}

}  // namespace
}  // namespace soma::runtime::api
