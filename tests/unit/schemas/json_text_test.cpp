// JSON text: what people and other programs read of a number.
#include "schemas/json/json_text.h"

#include <gtest/gtest.h>

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <limits>

namespace soma {
namespace {

namespace json = boost::json;

TEST(JsonText, DoublesAreWrittenAsPeopleDo) {
  EXPECT_EQ(json_text(json::value(0.92)), "0.92");
  EXPECT_EQ(json_text(json::value(0.1 + 0.2)), "0.30000000000000004");
  EXPECT_EQ(json_text(json::value(-0.0)), "-0.0");
}

TEST(JsonText, ADoubleStaysADouble) {
  EXPECT_EQ(json_text(json::value(8.0)), "8.0");
  EXPECT_EQ(json_text(json::value(1e22)), "1e+22");
  for (const double x : {8.0, 1e22, 5e-324, std::numeric_limits<double>::max(), 123456789.125}) {
    const auto back = json::parse(json_text(json::value(x)));
    ASSERT_TRUE(back.is_double()) << x;
    EXPECT_EQ(back.get_double(), x);
  }
}

TEST(JsonText, WhatJsonCannotSayIsNull) {
  EXPECT_EQ(json_text(json::value(std::numeric_limits<double>::infinity())), "null");
}

TEST(JsonText, EverythingElseIsAsItWas) {
  for (const char* text : {R"({})", R"([])", R"({"a":[1,-2,true,null,"x\"\\\n\u0001é"],"b\n":{}})",
                           R"([[],[{}],18446744073709551615])"})
    EXPECT_EQ(json_text(json::parse(text)), json::serialize(json::parse(text))) << text;
}

}  // namespace
}  // namespace soma
