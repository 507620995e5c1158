// Strict JSON: what is refused, and where; what is accepted stays the same.
#include "runtime/http/json_strict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/serialize.hpp>

namespace soma::runtime::http {
namespace {

struct Bad {
  const char* name;
  std::string text;
  std::size_t offset;  // as told to the client
};

std::string nested(std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

class Refused : public testing::TestWithParam<Bad> {};

TEST_P(Refused, NamesTheByte) {
  const auto value = parse_json_strict(GetParam().text);
  ASSERT_FALSE(value.has_value());
  EXPECT_EQ(value.error().code, Code::kMalformed);
  const std::string expected = "at byte " + std::to_string(GetParam().offset) + ":";
  EXPECT_THAT(value.error().message, testing::HasSubstr(expected));
}

INSTANTIATE_TEST_SUITE_P(
    Corpus, Refused,
    testing::Values(Bad{"empty", "", 0}, Bad{"blank", "  ", 2}, Bad{"open", "{\"a\":1", 6},
                    Bad{"duplicate", R"({"a":1,"a":2})", 9},
                    Bad{"duplicate_escaped", R"({"a":1,"\u0061":2})", 14},
                    Bad{"duplicate_deep", R"([{"x":{"y":1,"y":1}}])", 15},
                    Bad{"trailing", "{} x", 3}, Bad{"two_values", "1 2", 2},
                    Bad{"comma", "[1,]", 3}, Bad{"comment", "[1/*x*/]", 2},
                    Bad{"single_quote", "{'a':1}", 1}, Bad{"nan", "NaN", 0}, Bad{"plus", "+1", 0},
                    Bad{"leading_zero", "[01]", 2}, Bad{"hex", "[0x1]", 2},
                    Bad{"big_integer", "[18446744073709551616]", 21},
                    Bad{"small_integer", "[-9223372036854775809]", 21},
                    Bad{"infinite", "[1e999]", 6}, Bad{"latin1", "[\"\xE9\"]", 2},
                    Bad{"overlong", "[\"\xC0\xAF\"]", 2},
                    Bad{"surrogate_bytes", "[\"\xED\xA0\x80\"]", 2},
                    Bad{"lone_surrogate", R"(["\ud800"])", 8}, Bad{"control", "[\"a\nb\"]", 3},
                    Bad{"bom", "\xEF\xBB\xBF{}", 0}, Bad{"deep", nested(65), 64}),
    [](const auto& info) { return info.param.name; });

TEST(JsonStrict, AcceptsWhatIsJson) {
  for (const std::string text :
       {R"({"a":{"a":[1,2.5,true,null,"x"]},"b":-1})", "[18446744073709551615]", "\"\xC3\xA9\"",
        "[-9223372036854775808]", " [ ] ", "[1E2]", R"(["😀"])"}) {
    const auto value = parse_json_strict(text);
    ASSERT_TRUE(value.has_value()) << text << ": " << value.error().message;
    const auto again = parse_json_strict(boost::json::serialize(*value));
    ASSERT_TRUE(again.has_value());
    EXPECT_EQ(*value, *again);
  }
  EXPECT_TRUE(parse_json_strict(nested(64)).has_value());
}

TEST(JsonStrict, LongMemberNamesInPartsAreStillCompared) {
  const std::string name(5000, 'k');
  EXPECT_FALSE(parse_json_strict("{\"" + name + "\":1,\"" + name + "\":2}").has_value());
  EXPECT_TRUE(parse_json_strict("{\"" + name + "\":1,\"" + name + "x\":2}").has_value());
}

TEST(JsonStrict, NumbersAreTheNearestDoubles) {
  const auto value =
      parse_json_strict("[99e91,0.1,1e-400,123456789.123456789e-30,5e-324,1.7976931348623157e308]");
  ASSERT_TRUE(value.has_value()) << value.error().message;
  const double expected[] = {
      99e91, 0.1, 0.0, 123456789.123456789e-30, 5e-324, 1.7976931348623157e308};
  for (std::size_t i = 0; i < 6; ++i) EXPECT_EQ(value->at(i).as_double(), expected[i]) << i;
}

TEST(JsonStrict, MembersOfOneObjectAreLimited) {
  const auto object = [](int members) {
    std::string text = "{";
    for (int i = 0; i < members; ++i) text += (i ? ",\"k" : "\"k") + std::to_string(i) + "\":1";
    return text + "}";
  };
  EXPECT_TRUE(parse_json_strict("[" + object(10'000) + "," + object(3) + "]").has_value());
  const auto value = parse_json_strict("[" + object(10'001) + "]");
  ASSERT_FALSE(value.has_value());
  EXPECT_EQ(value.error().code, Code::kMalformed);
}

TEST(JsonStrict, SizeLimit) {
  const auto value = parse_json_strict("[1,2,3]", {.max_bytes = 6});
  ASSERT_FALSE(value.has_value());
  EXPECT_EQ(value.error().code, Code::kTooLarge);
}

}  // namespace
}  // namespace soma::runtime::http
