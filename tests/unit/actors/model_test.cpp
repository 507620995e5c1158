// The pool: slots, a bounded queue, retries with back-off, and honest answers.
#include "actors/model/model.h"

#include "soma/v1/inference.pb.h"
#include "tests/unit/actors/given.h"

namespace soma::actors {
namespace {

using Pool = Given<ModelDecider>;
const ActorKey kPool = pool_key("demo", "", 3);

std::string call(const std::string& id, const std::string& more = {}) {
  return "request_call { request { call_id: '" + id +
         "' caller { tenant: 'demo' type: 'inference' id: 'i' } " + more + " } }";
}

v1::ModelCommand outcome(const std::string& id, std::uint32_t attempt,
                         const v1::ModelAnswer& answer) {
  v1::ModelCommand c;
  c.mutable_effect_outcome()->set_effect_id(id);
  c.mutable_effect_outcome()->set_attempt(attempt);
  c.mutable_effect_outcome()->set_result(answer.SerializeAsString());
  return c;
}
v1::ModelCommand failure(const std::string& id, std::uint32_t attempt, const std::string& text) {
  v1::ModelCommand c;
  c.mutable_effect_outcome()->set_effect_id(id);
  c.mutable_effect_outcome()->set_attempt(attempt);
  *c.mutable_effect_outcome()->mutable_failure() = message<v1::Failure>(text);
  return c;
}
v1::InferenceCommand told(const Pool& pool, std::size_t i = 0) {
  v1::InferenceCommand c;
  EXPECT_TRUE(c.ParseFromString(pool.sends().at(i).command));
  return c;
}

TEST(Model, ASlotIsTakenAndGivenOn) {
  Pool pool(kPool, {"pool_configured { slots: 1 }"});
  pool.when(call("a")).then({"call.queued", "call.started"});
  pool.when(call("b")).then({"call.queued"});
  pool.when(call("a")).then({});  // known
  ASSERT_EQ(pool.effects().size(), 1u);
  EXPECT_TRUE(pool.effects()[0].seen_while_running);
  pool.when(outcome("a", 1, message<v1::ModelAnswer>("output: 'hi' finish_reason: 'stop'")))
      .then({"call.answered", "call.started"});
  EXPECT_EQ(told(pool).call_succeeded().answer().output(), "hi");
  EXPECT_EQ(pool.effects()[0].effect_id, "b");
  pool.when(outcome("a", 1, message<v1::ModelAnswer>("finish_reason: 'stop'"))).then({});  // late
}

TEST(Model, TheNextModelOfAProfileIsAskedAtOnceAndItsAnswerIsTold) {
  Pool pool(kPool);
  pool.when(call("a", "model: 'big' fallbacks: 'middle' fallbacks: 'small' profile: 'default'"));
  pool.when(failure("a", 1, "code: 'model_unavailable' retryable: true retry_after_ms: 9000"))
      .then({"call.started"});
  EXPECT_EQ(told(pool).call_progress().attempt(), 2u);
  v1::ModelRequest asked;
  ASSERT_TRUE(asked.ParseFromString(pool.effects().at(0).request));
  EXPECT_EQ(asked.model(), "middle");
  EXPECT_LE(pool.effects()[0].not_before_ms, 1000) << "another model is not waited for";
  pool.when(failure("a", 2, "code: 'rate_limited' retryable: true")).then({"call.started"});
  // The last one is tried as often as an only one.
  for (std::uint32_t attempt = 3; attempt < 6; ++attempt)
    pool.when(failure("a", attempt, "code: 'model_unavailable' retryable: true"))
        .then({"call.started"});
  pool.when(outcome("a", 6, message<v1::ModelAnswer>("output: 'hi' finish_reason: 'stop'")))
      .then({"call.answered", "model.fallback.used"});
  EXPECT_EQ(told(pool).call_succeeded().answer().fallback_of(), "big");
  const auto& used = pool.event(1).fallback_used();
  EXPECT_EQ(used.primary() + " " + used.model() + " " + used.profile(), "big small default");
}

TEST(Model, TheFirstModelsOwnAnswerIsNoFallback) {
  Pool pool(kPool);
  pool.when(call("a", "model: 'big' fallbacks: 'small'"));
  pool.when(failure("a", 1, "code: 'interrupted' retryable: true")).then({"call.started"});
  pool.when(failure("a", 2, "code: 'invalid_argument'")).then({"call.failed"});
  Pool other(kPool);
  other.when(call("b", "model: 'big' fallbacks: 'small'"));
  other.when(outcome("b", 1, message<v1::ModelAnswer>("output: 'hi' finish_reason: 'stop'")))
      .then({"call.answered"});
}

TEST(Model, ACallThatCannotStartIsToldAtOnceToWhoWaitsInItsOwnWay) {
  const std::string refused = "code: 'unavailable' message: 'refused' retryable: true";
  Pool pool(kPool);
  pool.when(call("a", "report_unstarted: true"));
  pool.when(failure("a", 1, refused)).then({"call.failed"});
  EXPECT_TRUE(told(pool).call_died().not_started());
  EXPECT_EQ(told(pool).call_died().failure().code(), "model_unavailable");
  // One that broke off later has begun: it is tried again, and is no longer unstarted.
  pool.when(call("b", "report_unstarted: true"));
  pool.when(failure("b", 1, "code: 'model_unavailable' retryable: true")).then({"call.started"});
  // Others are tried again.
  pool.when(call("c"));
  pool.when(failure("c", 1, refused)).then({"call.started"});
}

// Eight attempts in a row that a model did not answer: new calls are refused, until one gets
// through.
TEST(Model, ASickModelIsLeftAloneForAWhile) {
  const std::string away = "code: 'model_unavailable' retryable: true";
  Pool pool(kPool);
  pool.at(1000).when(call("a")).when(call("b"));
  for (std::uint32_t attempt = 1; attempt <= 3; ++attempt)
    for (const char* id : {"a", "b"}) pool.when(failure(id, attempt, away)).then({"call.started"});
  pool.when(failure("a", 4, away)).then({"call.failed"});
  pool.when(call("c")).then({"call.queued", "call.started"});
  pool.at(2000).when(failure("b", 4, away)).then({"model.breaker_opened", "call.failed"});
  pool.when(failure("c", 1, "code: 'deadline_exceeded'")).then({"call.failed"});
  pool.at(3000).when(call("d", "report_unstarted: true")).then({"call.refused"});
  EXPECT_TRUE(pool.effects().empty()) << "nothing is sent";
  EXPECT_TRUE(told(pool).call_died().not_started()) << "what was approved waits again";
  EXPECT_EQ(told(pool).call_died().failure().code(), "model_unavailable");
  EXPECT_EQ(told(pool).call_died().failure().retry_after_ms(), 4'000);
  pool.when(call("e", "fallbacks: 'small'")).then({"call.queued", "call.started"});
  v1::ModelRequest asked;
  ASSERT_TRUE(asked.ParseFromString(pool.effects().at(0).request));
  EXPECT_EQ(asked.model(), "small") << "its profile has another";
  pool.when(outcome("e", 1, message<v1::ModelAnswer>("output: 'x' finish_reason: 'stop'")))
      .then({"call.answered", "model.fallback.used"});
  pool.at(4000).when(call("f")).then({"call.refused"});  // another's answer says nothing of it
  // One tries when the while is over, the others wait for it.
  pool.at(7'001).when(call("g")).then({"call.queued", "call.started"});
  pool.when(call("h")).then({"call.refused"});
  EXPECT_EQ(told(pool).call_died().failure().retry_after_ms(), 1000);
  pool.when(failure("g", 1, away)).then({"model.breaker_opened", "call.started"});
  pool.at(8'002).when(call("i")).then({"call.refused"});
  pool.when(outcome("g", 2, message<v1::ModelAnswer>("output: 'x' finish_reason: 'stop'")))
      .then({"call.answered"});
  pool.when(call("j")).then({"call.queued", "call.started"});
}

TEST(Model, WhatAnswersBadlyIsNotSickAnyMore) {
  const std::string away = "code: 'model_unavailable' retryable: true";
  Pool pool(kPool);
  pool.at(1000).when(call("a")).when(call("b"));
  for (std::uint32_t attempt = 1; attempt <= 4; ++attempt)
    for (const char* id : {"a", "b"}) pool.when(failure(id, attempt, away));
  pool.when(call("c")).then({"call.refused"});
  pool.at(7000).when(call("d")).then({"call.queued", "call.started"});
  pool.when(failure("d", 1, "code: 'invalid_argument'")).then({"call.failed"});
  pool.when(call("e")).then({"call.queued", "call.started"});
  pool.when(call("f")).then({"call.queued", "call.started"});
}

TEST(Model, BusyOrRefusingIsNotSick) {
  Pool pool(kPool);
  for (int n = 0; n < 4; ++n) {
    const std::string id = "call-" + std::to_string(n);
    pool.when(call(id));
    for (std::uint32_t attempt = 1; attempt <= 4; ++attempt)
      pool.when(failure(id, attempt, "code: 'rate_limited' retryable: true"));
  }
  EXPECT_EQ(pool.state().failed_in_row(), 0u);
  pool.when(call("x")).then({"call.queued", "call.started"});
}

TEST(Model, BeyondItsQueueItRefuses) {
  Pool pool(kPool, {"pool_configured { slots: 1 queue_limit: 1 }"});
  pool.when(call("a"));
  pool.when(call("b")).then({"call.queued"});
  pool.when(call("c")).then({"call.refused"});
  EXPECT_EQ(told(pool).call_died().failure().code(), "overloaded");
}

TEST(Model, RetriesBackOffAndTellTheCaller) {
  Pool pool(kPool);
  pool.when(call("a"));
  for (std::uint32_t attempt = 1; attempt <= 3; ++attempt) {
    pool.at(1000).when(failure("a", attempt, "code: 'model_unavailable' retryable: true"));
    pool.then({"call.started"});
    EXPECT_EQ(told(pool).call_progress().attempt(), attempt + 1);
    EXPECT_EQ(pool.effects()[0].not_before_ms, 1000 + (1000 << (attempt - 1)));
  }
  pool.when(failure("a", 4, "code: 'model_unavailable' retryable: true")).then({"call.failed"});
  EXPECT_EQ(told(pool).call_died().attempts(), 4u);
  EXPECT_TRUE(pool.effects().empty());
}

TEST(Model, AProvidersWishIsGrantedAndADeadlineKept) {
  Pool pool(kPool);
  pool.when(call("a"));
  pool.at(1000)
      .when(failure("a", 1, "code: 'rate_limited' retryable: true retry_after_ms: 7000"))
      .then({"call.started"});
  EXPECT_EQ(pool.effects()[0].not_before_ms, 8000);
  pool.when(call("b", "deadline_ms: 1500"));
  pool.at(1000).when(failure("b", 1, "retryable: true")).then({"call.failed"});
}

TEST(Model, OurOwnCrashIsNoFaultOfTheProvider) {
  Pool pool(kPool);
  pool.when(call("a"));
  for (std::uint32_t attempt = 1; attempt <= 9; ++attempt)
    pool.at(1000)
        .when(failure("a", attempt, "code: 'interrupted' retryable: true"))
        .then({"call.started"});
  EXPECT_EQ(pool.effects()[0].not_before_ms, 1000);
}

TEST(Model, AnAnswerCutOffIsNoAnswer) {
  Pool pool(kPool);
  pool.when(call("a"));
  pool.when(outcome("a", 1, message<v1::ModelAnswer>("output: 'h' finish_reason: 'length'")))
      .then({"call.failed"});
  EXPECT_EQ(told(pool).call_died().failure().code(), "incomplete_answer");
  pool.when(call("b", "allow_length: true"));
  pool.when(outcome("b", 1, message<v1::ModelAnswer>("output: 'h' finish_reason: 'length'")))
      .then({"call.answered"});
  pool.when(call("c", "allow_length: true"));
  pool.when(outcome("c", 1, message<v1::ModelAnswer>("output: 'h'"))).then({"call.failed"});
}

TEST(Model, ACancelledCallLeavesItsSlot) {
  Pool pool(kPool, {"pool_configured { slots: 1 }"});
  pool.when(call("a"));
  pool.when(call("b"));
  pool.when("cancel_call { call_id: 'a' }").then({"call.cancelled", "call.started"});
  pool.when("cancel_call { call_id: 'a' }").then({});
  EXPECT_EQ(pool.effects()[0].effect_id, "b");
}

}  // namespace
}  // namespace soma::actors
