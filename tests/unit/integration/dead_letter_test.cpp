// Dead letters: everything of the record is kept, but for its token.
#include "runtime/integration/dead_letter.h"

#include <gtest/gtest.h>

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>

#include "events/kafka/topic_clients.h"
#include "schemas/base/base64.h"

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

std::string text(const json::value& v) { return std::string(v.as_string()); }
std::size_t bytes_of(const events::TopicRecord& r) {
  std::size_t bytes = r.key.size() + r.value.size();
  for (const auto& [name, value] : r.headers) bytes += name.size() + value.size();
  return bytes;
}
// What Kafka adds to a record is far below this.
constexpr std::size_t kFits = events::kTopicRecordBytes - 1024;

TEST(DeadLetter, TheLargestRecordHasALetterThatFits) {
  auto r = record();
  r.value = std::string(events::kTopicRecordBytes, '\xff');
  const auto out = dead_letter(r, "d", {"malformed", std::string(9 << 20, '"'), 0}, 0);
  EXPECT_LT(bytes_of(out), kFits);
  const auto event = json::parse(out.value).at("original_event");
  EXPECT_TRUE(event.at("truncated").as_bool());
  EXPECT_EQ(event.at("value_bytes"), events::kTopicRecordBytes);
  EXPECT_EQ(text(event.at("data_base64")).substr(0, 8), "////////");
  EXPECT_EQ(event.at("key"), "demo/session/s");
}

TEST(DeadLetter, ALargeKeyIsCutOnACharacter) {
  auto r = record();
  r.key = "x";
  while (r.key.size() < events::kTopicRecordBytes) r.key += "\xc3\xa4";
  const auto out = dead_letter(r, "d", {"malformed", "no", 0}, 0);
  EXPECT_LT(bytes_of(out), kFits);
  EXPECT_EQ(out.key.size(), 1023u);
  const auto event = json::parse(out.value).at("original_event");
  EXPECT_EQ(text(event.at("key")), out.key);
  EXPECT_TRUE(event.at("truncated").as_bool());
  EXPECT_EQ(event.at("value_bytes"), r.value.size());
}

TEST(DeadLetter, HeadersThatJsonMakesSixTimesAsLongFit) {
  auto r = record();
  for (int i = 0; i < 500; ++i)
    r.headers.emplace_back(std::string(2000, '\x01'), std::string(14'000, '\x01'));
  const auto out = dead_letter(r, "d", {"malformed", "no", 0}, 0);
  EXPECT_LT(bytes_of(out), kFits);
  EXPECT_EQ(json::parse(out.value).at("original_event").at("headers").get_array().size(), 64u);
}

TEST(DeadLetter, WhatGrowsBeyondTheLimitOnlyAsALetterIsCutToo) {
  auto r = record();
  r.value = std::string(events::kTopicRecordBytes * 4 / 5, '\xff');
  EXPECT_LT(bytes_of(dead_letter(r, "d", {"malformed", "no", 0}, 0)), kFits);
  r.value.resize(events::kTopicRecordBytes / 2);
  const auto out = dead_letter(r, "d", {"malformed", "no", 0}, 0);
  EXPECT_FALSE(json::parse(out.value).at("original_event").get_object().contains("truncated"));
}

TEST(DeadLetter, ATokenInALargeValueIsNotKeptEither) {
  auto r = record();
  r.value = R"({"somatoken":"eyJ.secret.sig","data":")" +
            std::string(events::kTopicRecordBytes - 1000, 'x') + R"("})";
  const auto event = letter(r).at("original_event");
  ASSERT_TRUE(event.at("truncated").as_bool());
  const std::string begin = text(event.at("data_base64"));
  // {"somatoken":"***", wherever JSON puts it
  EXPECT_EQ(begin.substr(0, 24), "eyJzb21hdG9rZW4iOiIqKioi");
}

TEST(DeadLetter, ATokenInWhatIsNoJsonIsNotKeptEither) {
  auto r = record();
  const auto kept = [&](const std::string& value) {
    r.value = value;
    return text(letter(r).at("original_event").at("data_base64"));
  };
  EXPECT_EQ(kept(R"({"somatoken":"eyJh.eyJi.c-_9","data":)"),
            base64(R"({"somatoken":"***","data":)"));
  EXPECT_EQ(kept("eyJa.eyJb. and eyJc.eyJd.eyJe"), base64("*** and ***"));
  for (const char* none : {"eyJ", "eyJa.b", "eyJa..c", "x.eyJ.", "\xff"})
    EXPECT_EQ(kept(none), base64(none)) << none;
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
