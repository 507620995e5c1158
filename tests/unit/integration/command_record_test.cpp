// Foreign records: what is taken, and what each mistake is told.
#include "runtime/integration/command_record.h"

#include <gtest/gtest.h>

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

TEST(CommandRecord, OtherFormsAreRefusedByName) {
  const Headers good = {{"ce_id", "1"}, {"ce_type", "session.start"}};
  const auto with = [&](const char* name, const char* value) {
    auto headers = good;
    headers.emplace_back(name, value);
    return refusal(headers);
  };
  EXPECT_EQ(with("content-type", "application/cloudevents+json").code, Code::kUnsupportedMediaType);
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
