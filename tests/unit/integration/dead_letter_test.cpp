// Dead letters: everything of the record is kept, but for its token.
#include "runtime/integration/dead_letter.h"

#include <gtest/gtest.h>

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>

namespace soma::runtime::integration {
namespace {

namespace json = boost::json;

events::TopicRecord record() {
  events::TopicRecord r;
  r.topic = "x.soma.commands";
  r.partition = PartitionId{4};
  r.offset = Offset{81};
  r.key = "demo/session/s";
  r.value = R"({"prompt":7})";
  r.headers = {{"ce_id", "one"}, {"ce_somatoken", "eyJ.secret.sig"}, {"ce_id", "two"}};
  return r;
}

json::value letter(const events::TopicRecord& r) {
  return json::parse(
      dead_letter(r, "x.soma.commands.dlq", {"malformed", "no", 2}, 1'700'000'000'000).value);
}

TEST(DeadLetter, SaysWhatWhereAndWhy) {
  const auto v = letter(record());
  EXPECT_EQ(v.at("source_topic"), "x.soma.commands");
  EXPECT_EQ(v.at("source_partition"), 4);
  EXPECT_EQ(v.at("source_offset"), 81);
  EXPECT_EQ(v.at("error_type"), "malformed");
  EXPECT_EQ(v.at("error_message"), "no");
  EXPECT_EQ(v.at("retry_count"), 2);
  EXPECT_EQ(v.at("timestamp"), "2023-11-14T22:13:20.000Z");
  EXPECT_EQ(v.at("original_event").at("key"), "demo/session/s");
  EXPECT_EQ(v.at("original_event").at("data").at("prompt"), 7);
}

TEST(DeadLetter, KeepsHeadersThatStandTwiceButNoToken) {
  const auto out = dead_letter(record(), "d", {"malformed", "no", 0}, 0);
  EXPECT_EQ(out.value.find("secret"), std::string::npos);
  EXPECT_EQ(json::parse(out.value).at("original_event").at("headers"),
            json::parse(R"([["ce_id","one"],["ce_somatoken","***"],["ce_id","two"]])"));
}

TEST(DeadLetter, HasTheSameIdWheneverItIsWritten) {
  const auto id = [](std::int64_t now) {
    return dead_letter(record(), "d", {"malformed", "no", 0}, now).headers.at(1);
  };
  EXPECT_EQ(id(1), id(2));
  EXPECT_EQ(id(1).second, "x.soma.commands/4/81");
}

TEST(DeadLetter, BytesThatAreNoTextAreKeptAsBase64) {
  auto r = record();
  r.value = std::string("\xff\x00z", 3);
  r.key = "\xfe";
  r.headers.emplace_back("ce_type", "\xc3");
  const auto original = letter(r).at("original_event");
  EXPECT_EQ(original.at("data_base64"), "/wB6");
  EXPECT_EQ(original.at("key").at("base64"), "/g==");
  EXPECT_EQ(original.at("headers").get_array().back().get_array()[1].at("base64"), "ww==");
}

TEST(DeadLetter, TheSchemaNamesEveryMember) {
  const auto schema = dead_letter_schema();
  const auto v = letter(record());
  for (const auto& [name, member] : v.get_object())
    EXPECT_TRUE(schema.at("properties").get_object().contains(name)) << name;
  for (const auto& name : schema.at("required").get_array())
    EXPECT_TRUE(v.get_object().contains(name.get_string())) << name;
}

}  // namespace
}  // namespace soma::runtime::integration
