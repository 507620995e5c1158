// Foreign records: what is taken, and what each mistake is told.
#include "runtime/integration/command_record.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "schemas/base/base64.h"
#include "soma/v1/integration.pb.h"

namespace soma::runtime::integration {
namespace {

using Headers = std::vector<std::pair<std::string, std::string>>;

events::TopicRecord record(Headers headers, std::string value = R"({"prompt":"hi"})") {
  events::TopicRecord r;
  r.topic = "soma.commands";
  r.headers = std::move(headers);
  r.value = std::move(value);
  return r;
}

Error refusal(Headers headers, std::string value = "{}") {
  auto command = decode_command(record(std::move(headers), std::move(value)));
  EXPECT_FALSE(command);
  return command ? Error{} : command.error();
}

TEST(CommandRecord, BecomesTheRequestOfItsRoute) {
  const auto command = decode_command(record({{"ce_specversion", "1.0"},
                                              {"ce_id", "order-7"},
                                              {"ce_type", "session.start"},
                                              {"ce_source", "/shop"},
                                              {"ce_somatoken", "a.b.c"},
                                              {"ce_somatenant", "acme"},
                                              {"content-type", "application/json; charset=utf-8"},
                                              {"traceparent", "00-x"},
                                              {"x-own", "whatever"}}));
  ASSERT_TRUE(command) << command.error().message;
  const auto head = request_head(*command);
  EXPECT_EQ(head.method, "POST");
  EXPECT_EQ(head.target, "/v1/sessions/start");
  EXPECT_EQ(head.headers.get("Idempotency-Key"), "order-7");
  EXPECT_EQ(head.headers.get("Authorization"), "Bearer a.b.c");
  EXPECT_EQ(head.headers.get("X-Tenant-ID"), "acme");
  EXPECT_EQ(head.headers.get("traceparent"), "00-x");
  EXPECT_EQ(command->body, R"({"prompt":"hi"})");
}

TEST(CommandRecord, NeedsAnIdThatCanBeAKey) {
  EXPECT_EQ(refusal({{"ce_type", "session.start"}}).field, "ce_id");
  for (const std::string id : {"", "a\nb", "\x7f", "caf\xc3\xa9"})
    EXPECT_EQ(refusal({{"ce_type", "session.start"}, {"ce_id", id}}).field, "ce_id") << id;
  EXPECT_EQ(refusal({{"ce_type", "session.start"}, {"ce_id", std::string(256, 'x')}}).field,
            "ce_id");
}

TEST(CommandRecord, AnUnknownTypeIsToldTheKnownOnes) {
  const auto error = refusal({{"ce_id", "1"}, {"ce_type", "session.stop"}});
  EXPECT_EQ(error.field, "ce_type");
  for (const auto& row : command_table())
    EXPECT_NE(error.message.find(row.type), std::string::npos) << row.type;
}

TEST(CommandRecord, TwoHeadersOfANameAreRefused) {
  const auto error = refusal(
      {{"ce_id", "1"}, {"ce_type", "session.start"}, {"ce_somatoken", "a"}, {"ce_somatoken", "b"}});
  EXPECT_EQ(error.code, Code::kMalformed);
  EXPECT_EQ(error.field, "ce_somatoken");
}

Headers of(const char* type, const char* content_type) {
  return {{"ce_id", "1"}, {"ce_type", type}, {"content-type", content_type}};
}

boost::json::value body_of(const Result<Command>& command) {
  EXPECT_TRUE(command) << command.error().message;
  return command ? boost::json::parse(command->body) : boost::json::value();
}

TEST(CommandRecord, ProtobufBecomesTheBodyOfItsRoute) {
  v1::SessionStartBody start;
  start.set_prompt("hi");
  start.set_capsule_id("c1");
  (*start.mutable_metadata()->mutable_fields())["risk_score"].set_number_value(0.25);
  (*start.mutable_metadata()->mutable_fields())["requires_human"].set_bool_value(true);
  EXPECT_EQ(
      body_of(decode_command(
          record(of("session.start", "application/protobuf"), start.SerializeAsString()))),
      boost::json::parse(
          R"({"prompt":"hi","capsule_id":"c1","metadata":{"risk_score":0.25,"requires_human":true}})"));
  v1::MemoryRememberBody fact;
  fact.set_text("f");
  fact.add_tags("t");
  fact.set_importance(0);  // told, though it is the default
  EXPECT_EQ(body_of(decode_command(
                record(of("memory.remember", "application/x-protobuf"), fact.SerializeAsString()))),
            boost::json::parse(R"({"text":"f","tags":["t"],"importance":0})"));
  v1::SlmRequestBody ask;
  ask.set_mode("infer_sync");
  (*ask.mutable_payload()->mutable_fields())["prompt"].set_string_value("hi");
  EXPECT_EQ(body_of(decode_command(
                record(of("slm.request", "application/protobuf"), ask.SerializeAsString()))),
            boost::json::parse(R"({"mode":"infer_sync","payload":{"prompt":"hi"}})"));
}

TEST(CommandRecord, EveryCommandHasAMessage) {
  for (const auto& row : command_table())
    EXPECT_TRUE(decode_command(record(of(std::string(row.type).c_str(), "application/protobuf"),
                                      std::string("\x0a\x01x", 3))))
        << row.type;
}

TEST(CommandRecord, WhatIsNoMessageOfTheCommandIsRefused) {
  const Headers headers = of("session.start", "application/protobuf");
  EXPECT_EQ(refusal(headers, R"({"prompt":"hi"})").code, Code::kMalformed);
  EXPECT_EQ(refusal(headers, "\x0a\xff").code, Code::kMalformed);          // cut off
  const auto unknown = refusal(headers, std::string("\x9a\x06\x01x", 4));  // field 99
  EXPECT_EQ(unknown.code, Code::kMalformed);
  EXPECT_NE(unknown.message.find("field 99"), std::string::npos) << unknown.message;
}

TEST(CommandRecord, AStructuredEventIsTheSameCommand) {
  const auto command = decode_command(record(
      {{"content-type", "application/cloudevents+json; charset=utf-8"}, {"ce_somatoken", "a.b.c"}},
      R"({"specversion":"1.0","id":"order-7","type":"session.start","source":"/shop",
          "somatenant":"acme","traceparent":"00-x","time":"2026-01-01T00:00:00Z",
          "datacontenttype":"application/json","data":{"prompt":"hi"}})"));
  ASSERT_TRUE(command) << command.error().message;
  EXPECT_EQ(command->body, R"({"prompt":"hi"})");
  const auto head = request_head(*command);
  EXPECT_EQ(head.headers.get("Idempotency-Key"), "order-7");
  EXPECT_EQ(head.headers.get("Authorization"), "Bearer a.b.c");
  EXPECT_EQ(head.headers.get("X-Tenant-ID"), "acme");
  EXPECT_EQ(head.headers.get("traceparent"), "00-x");

  v1::SessionStartBody start;
  start.set_prompt("packed");
  EXPECT_EQ(body_of(decode_command(record({{"content-type", "application/cloudevents+json"}},
                                          R"({"specversion":"1.0","id":"1","type":"session.start",
              "datacontenttype":"application/protobuf","data_base64":")" +
                                              base64(start.SerializeAsString()) + R"("})"))),
            boost::json::parse(R"({"prompt":"packed"})"));
}

TEST(CommandRecord, MistakesOfStructuredEventsAreNamed) {
  const auto told = [](const char* event) {
    return refusal({{"content-type", "application/cloudevents+json"}}, event);
  };
  EXPECT_EQ(told("{").code, Code::kMalformed);
  EXPECT_EQ(told("[]").code, Code::kMalformed);
  EXPECT_EQ(told(R"({"id":"1","type":"session.start","data":{}})").field, "specversion");
  EXPECT_EQ(told(R"({"specversion":"0.3","id":"1","type":"session.start","data":{}})").field,
            "ce_specversion");
  EXPECT_EQ(told(R"({"specversion":"1.0","id":1,"type":"session.start","data":{}})").field, "id");
  EXPECT_EQ(told(R"({"specversion":"1.0","type":"session.start","data":{}})").field, "ce_id");
  EXPECT_EQ(told(R"({"specversion":"1.0","id":"1","type":"session.start"})").field, "data");
  EXPECT_EQ(
      told(R"({"specversion":"1.0","id":"1","type":"session.start","data":{},"data_base64":""})")
          .field,
      "data");
  for (const char* bad : {"*", "YQ", "YQ=", "YR==", "YQ==="})
    EXPECT_EQ(told((R"({"specversion":"1.0","id":"1","type":"session.start","data_base64":")" +
                    std::string(bad) + "\"}")
                       .c_str())
                  .field,
              "data_base64")
        << bad;
  EXPECT_EQ(
      told(R"({"specversion":"1.0","id":"1","type":"session.start","data":{},"somatoken":"t"})")
          .field,
      "somatoken");
}

TEST(CommandRecord, OtherFormsAreRefusedByName) {
  const Headers good = {{"ce_id", "1"}, {"ce_type", "session.start"}};
  const auto with = [&](const char* name, const char* value) {
    auto headers = good;
    headers.emplace_back(name, value);
    return refusal(headers);
  };
  EXPECT_EQ(with("content-type", "text/plain").code, Code::kUnsupportedMediaType);
  EXPECT_EQ(with("ce_specversion", "0.3").field, "ce_specversion");
  EXPECT_EQ(refusal(good, "").field, "value");
}

TEST(CommandRecord, WhatThisSystemPutThereIsNoCommand) {
  EXPECT_TRUE(
      is_ours(record({{"ce_type", "inference.started"}, {"ce_source", "/soma/inference"}})));
  EXPECT_TRUE(is_ours(record({{"soma_send", "1"}})));
  EXPECT_FALSE(is_ours(record({{"ce_type", "slm.request"}, {"ce_source", "/soma/inference"}})));
  EXPECT_FALSE(is_ours(record({{"ce_type", "inference.started"}, {"ce_source", "/shop"}})));
  EXPECT_FALSE(is_ours(record({{"ce_type", "key.claimed"}, {"ce_source", "/soma/idempotency"}})));
}

}  // namespace
}  // namespace soma::runtime::integration
