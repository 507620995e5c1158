// Upcasters: chains, recorded old bytes, and what they refuse.
#include "events/upcast.h"

#include <gtest/gtest.h>

namespace soma::events {
namespace {

v1::RecordedEvent event(const std::string& type, std::uint32_t schema, const std::string& payload) {
  v1::RecordedEvent e;
  e.set_event_id("e1");
  e.set_sequence(4);
  e.set_type(type);
  e.set_schema(schema);
  e.set_payload(payload);
  return e;
}

Upcasters::Upcast suffix(std::string text) {
  return [text](std::string_view payload) -> Result<std::string> {
    return std::string(payload) + text;
  };
}

TEST(Upcasters, RunAllStepsToTheNewestVersion) {
  Upcasters u;
  ASSERT_TRUE(u.add({"cart.filled", 2}, {"basket.filled", 1}, suffix("+renamed")));
  ASSERT_TRUE(u.add({"cart.filled", 1}, {"cart.filled", 2}, suffix("+total")));
  auto e = event("cart.filled", 1, "old");
  ASSERT_TRUE(u.apply(e));
  EXPECT_EQ(e.type(), "basket.filled");
  EXPECT_EQ(e.schema(), 1u);
  EXPECT_EQ(e.payload(), "old+total+renamed");
  EXPECT_EQ(e.sequence(), 4u);
}

TEST(Upcasters, LeaveUnknownAndNewestAlone) {
  Upcasters u;
  ASSERT_TRUE(u.add({"a", 1}, {"a", 2}, suffix("+")));
  auto newest = event("a", 2, "x"), other = event("b", 1, "x");
  ASSERT_TRUE(u.apply(newest));
  ASSERT_TRUE(u.apply(other));
  EXPECT_EQ(newest.payload(), "x");
  EXPECT_EQ(other.payload(), "x");
}

TEST(Upcasters, ReadBytesRecordedByAnOlderBuild) {
  Upcasters u;  // schema 1 held field 1 = number (varint); schema 2 holds it as text in field 2
  ASSERT_TRUE(u.add({"n", 1}, {"n", 2}, [](std::string_view p) -> Result<std::string> {
    if (p.size() != 2 || p[0] != '\x08') return fail(Code::kCorrupt, "not schema 1");
    const std::string text = std::to_string(static_cast<int>(p[1]));
    return std::string("\x12") + static_cast<char>(text.size()) + text;
  }));
  auto e = event("n", 1, std::string("\x08\x2a", 2));
  ASSERT_TRUE(u.apply(e));
  EXPECT_EQ(e.payload(), std::string("\x12\x02"
                                     "42"));
  auto bad = event("n", 1, "zz");
  EXPECT_EQ(u.apply(bad).error().code, Code::kCorrupt);
  EXPECT_EQ(bad.schema(), 1u);
  EXPECT_EQ(bad.payload(), "zz");
}

TEST(Upcasters, RefuseTwoStepsAndCircles) {
  Upcasters u;
  ASSERT_TRUE(u.add({"a", 1}, {"a", 2}, suffix("")));
  EXPECT_EQ(u.add({"a", 1}, {"a", 3}, suffix("")).error().code, Code::kConflict);
  EXPECT_EQ(u.add({"a", 2}, {"a", 1}, suffix("")).error().code, Code::kInvalidArgument);
  EXPECT_EQ(u.add({"b", 1}, {"b", 1}, suffix("")).error().code, Code::kInvalidArgument);
}

TEST(Upcasters, DoNotTouchEncryptedPayloads) {
  Upcasters u;
  ASSERT_TRUE(u.add({"a", 1}, {"a", 2}, suffix("+")));
  auto e = event("a", 1, "cipher");
  e.set_key_id("k1");
  EXPECT_EQ(u.apply(e).error().code, Code::kInvalidArgument);
  EXPECT_EQ(e.payload(), "cipher");
}

}  // namespace
}  // namespace soma::events
