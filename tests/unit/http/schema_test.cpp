// Body and query validation: each fault is found, named and typed.
#include "runtime/http/schema.h"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

namespace soma::runtime::http {
namespace {

SchemaRef schema() {
  const auto inner =
      make_schema("Inner", {{.name = "n", .type = FieldType::kInt, .required = true}});
  return make_schema(
      "All",
      {{.name = "prompt", .required = true, .min_length = 1, .max_length = 5},
       {.name = "risk", .type = FieldType::kNumber, .min = 0.0, .max = 1.0},
       {.name = "count", .type = FieldType::kInt, .min = 1.0},
       {.name = "flag", .type = FieldType::kBool},
       {.name = "mode", .one_of = {"a", "b"}, .nullable = true},
       {.name = "tags", .type = FieldType::kArray, .max_length = 2, .items = FieldType::kString},
       {.name = "inner", .type = FieldType::kObject, .schema = inner},
       {.name = "list", .type = FieldType::kArray, .items = FieldType::kObject, .schema = inner},
       {.name = "any", .type = FieldType::kAny}});
}

struct Case {
  const char* body;
  const char* loc;  // joined by dots; empty: valid
  const char* type;
};

TEST(Schema, FindsEachFault) {
  const Case cases[] = {
      {R"({"prompt":"hi"})", "", ""},
      {R"({"prompt":"hi","risk":1,"count":3,"flag":false,"mode":null,"tags":[],"any":[{}]})", "",
       ""},
      {R"({})", "body.prompt", "missing"},
      {R"({"prompt":null})", "body.prompt", "string_type"},
      {R"({"prompt":1})", "body.prompt", "string_type"},
      {R"({"prompt":""})", "body.prompt", "too_short"},
      {R"({"prompt":"123456"})", "body.prompt", "too_long"},
      {R"({"prompt":"x","risk":1.01})", "body.risk", "greater_than_max"},
      {R"({"prompt":"x","risk":-1})", "body.risk", "less_than_min"},
      {R"({"prompt":"x","risk":"0"})", "body.risk", "number_type"},
      {R"({"prompt":"x","count":1.0})", "body.count", "int_type"},
      {R"({"prompt":"x","count":18446744073709551615})", "body.count", "greater_than_max"},
      {R"({"prompt":"x","flag":"true"})", "body.flag", "bool_type"},
      {R"({"prompt":"x","mode":"c"})", "body.mode", "enum"},
      {R"({"prompt":"x","tags":"a"})", "body.tags", "array_type"},
      {R"({"prompt":"x","tags":["a","b","c"]})", "body.tags", "too_long"},
      {R"({"prompt":"x","tags":["a",1]})", "body.tags.1", "string_type"},
      {R"({"prompt":"x","inner":{}})", "body.inner.n", "missing"},
      {R"({"prompt":"x","inner":[]})", "body.inner", "object_type"},
      {R"({"prompt":"x","list":[{"n":1},{"n":"1"}]})", "body.list.1.n", "int_type"},
      {R"([])", "body", "object_type"},
  };
  for (const Case& c : cases) {
    const auto errors = validate(*schema(), boost::json::parse(c.body), true);
    ASSERT_EQ(errors.empty(), *c.loc == '\0') << c.body;
    if (errors.empty()) continue;
    std::string loc;
    for (const auto& part : errors[0].loc) (loc += loc.empty() ? "" : ".") += part;
    EXPECT_EQ(loc, c.loc) << c.body;
    EXPECT_EQ(errors[0].type, c.type) << c.body;
  }
}

TEST(Schema, UnknownMembersOnlyWhereStrict) {
  const auto body = boost::json::parse(R"({"prompt":"x","extra":1,"inner":{"n":1,"m":2}})");
  EXPECT_TRUE(validate(*schema(), body, false).empty());
  const auto errors = validate(*schema(), body, true);
  ASSERT_EQ(errors.size(), 2u);
  EXPECT_EQ(errors[0].loc, (std::vector<std::string>{"body", "inner", "m"}));
  EXPECT_EQ(errors[1].type, "extra_forbidden");
}

TEST(Schema, ErrorsAreBounded) {
  boost::json::array many(1000, boost::json::value(1));
  const auto list =
      make_schema("L", {{.name = "l", .type = FieldType::kArray, .items = FieldType::kString}});
  EXPECT_EQ(validate(*list, boost::json::object{{"l", many}}, true).size(), kMaxFieldErrors);
}

TEST(Schema, Query) {
  const std::vector<Field> fields = {
      {.name = "limit", .type = FieldType::kInt, .min = 1.0, .max = 200.0},
      {.name = "follow", .type = FieldType::kBool}};
  EXPECT_TRUE(
      validate_query(fields, {{"limit", "5"}, {"follow", "true"}, {"x", "y"}}, false).empty());
  for (const std::multimap<std::string, std::string>& bad :
       {std::multimap<std::string, std::string>{{"limit", "0"}},
        {{"limit", "201"}},
        {{"limit", "5x"}},
        {{"limit", ""}},
        {{"follow", "maybe"}},
        {{"limit", "1"}, {"limit", "2"}}})
    EXPECT_EQ(validate_query(fields, bad, false).size(), 1u);
  EXPECT_EQ(validate_query(fields, {{"x", "y"}}, true)[0].type, "extra_forbidden");
}

}  // namespace
}  // namespace soma::runtime::http
