// Canonical JSON against what Python's json.dumps gave for the same texts.
#include "runtime/security/canonical_json.h"

#include <gtest/gtest.h>

namespace soma::runtime::security {
namespace {

struct Case {
  const char* text;
  const char* canonical;
};

// Right sides printed by json.dumps(json.loads(x), sort_keys=True, separators=(",", ":")).
constexpr Case kCases[] = {
    {R"J({"b":1,"a":[true,false,null],"c":{"z":1.0,"y":-0.0,"x":1e16,"w":1e-5,"v":0.0001,"u":123456789012345680.0}})J",
     R"J({"a":[true,false,null],"b":1,"c":{"u":1.2345678901234568e+17,"v":0.0001,"w":1e-05,"x":1e+16,"y":-0.0,"z":1.0}})J"},
    {R"J({"\u00e9":"\u00e9\u20ac\ud83d\ude00","a\"b":"\n\t\\\u0001\u007f/"})J",
     R"J({"a\"b":"\n\t\\\u0001\u007f/","\u00e9":"\u00e9\u20ac\ud83d\ude00"})J"},
    {R"J([12345678901234567890123456789,-5,0,-0,1E2,1.5e300,2.5,0.1,1e-7,100000.0,5e-324,1e-400])J",
     R"J([12345678901234567890123456789,-5,0,0,100.0,1.5e+300,2.5,0.1,1e-07,100000.0,5e-324,0.0])J"},
    {R"J(  {"k" : [ ] , "a":{ }}  )J", R"J({"a":{},"k":[]})J"},
    {R"J("x")J", R"J("x")J"},
    {R"J(3)J", R"J(3)J"},
    {R"J({"z":"ÿ","😀":1,"￿":2})J", R"J({"z":"\u00ff","\uffff":2,"\ud83d\ude00":1})J"}};

TEST(CanonicalJson, IsWhatPythonPrints) {
  for (const auto& c : kCases) {
    const auto got = canonical_json(c.text);
    ASSERT_TRUE(got) << c.text << ": " << got.error().message;
    EXPECT_EQ(*got, c.canonical);
    EXPECT_EQ(canonical_json(*got).value(), *got) << "not a fixed point";
  }
}

TEST(CanonicalJson, RefusesWhatHasNoOneMeaning) {
  for (const char* text : {R"({"a":1,"a":2})", R"({"a":{"b":1,"b":1}})", "1e999", "", "{", "[1] 2",
                           "nan", R"("\ud800")", "{'a':1}", "[01]"}) {
    const auto got = canonical_json(text);
    ASSERT_FALSE(got) << text << " gave " << *got;
    EXPECT_EQ(got.error().code, Code::kMalformed);
  }
  EXPECT_FALSE(canonical_json(std::string(100, '[') + std::string(100, ']')));
}

TEST(CanonicalJson, GivesAMembersOwnText) {
  EXPECT_EQ(canonical_member(R"({"a":{"y":1,"z":2.50},"b":3})", "a"), R"({"y":1,"z":2.5})");
  EXPECT_EQ(canonical_member(R"({"a":1})", "b"), std::nullopt);
  EXPECT_EQ(canonical_member("[1]", "b"), std::nullopt);
}

}  // namespace
}  // namespace soma::runtime::security
