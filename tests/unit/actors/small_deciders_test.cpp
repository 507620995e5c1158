// Counter, idempotency keys, decisions and the gateway's switch.
#include "actors/counter/counter.h"
#include "actors/decision/decision.h"
#include "actors/gateway/gateway.h"
#include "actors/idempotency/idempotency.h"
#include "tests/unit/actors/given.h"

namespace soma::actors {
namespace {

const ActorKey kCounter{"demo", "counter", "c1", {}};

TEST(Counter, AddsAndTransfersWhatItHas) {
  Given<CounterDecider> counter(kCounter, {"added { amount: 5 }"});
  counter.when("add { amount: 2 }").then({"counter.added"});
  EXPECT_EQ(counter.reply().value(), 7);
  counter.when("transfer { to { tenant: 'demo' type: 'counter' id: 'c2' } amount: 7 }")
      .then({"counter.transferred"});
  ASSERT_EQ(counter.sends().size(), 1u);
  EXPECT_EQ(counter.sends()[0].to.id, "c2");
  EXPECT_EQ(counter.state().value(), 0);
  counter.when("transfer { to { id: 'c2' } amount: 1 }").refused(Code::kConflict, "amount");
  counter.when("").refused(Code::kInvalidArgument);
}

TEST(Counter, TimersAndCallsArePendingUntilReported) {
  Given<CounterDecider> counter(kCounter);
  counter.when("arm_timer { timer_id: 't' due_ms: 50 }").then({"counter.timer.armed"});
  ASSERT_EQ(counter.effects().size(), 1u);
  EXPECT_EQ(counter.effects()[0].not_before_ms, 50);
  counter.when("effect_outcome { effect_id: 't' attempt: 1 result: '' }")
      .then({"counter.timer.fired"});
  counter.when("effect_outcome { effect_id: 't' attempt: 1 result: '' }").then({});  // late
  counter.when("call_out { call_id: 'x' }").then({"counter.call.placed"});
  EXPECT_EQ(counter.effects()[0].effect_class, EffectClass::kAtMostOnce);
  counter.when("effect_outcome { effect_id: 'x' attempt: 1 unknown: 'crash' }")
      .then({"counter.call.settled"});
  EXPECT_EQ(counter.event(0).call_settled().outcome(), "unknown");
  ASSERT_EQ(counter.effects().size(), 1u);
  EXPECT_FALSE(counter.effects()[0].unknown.empty());
  counter.when("call_out { call_id: 'x' }").refused(Code::kConflict, "call_id");
}

TEST(Counter, APersonSettlesAnUnknownCallOnce) {
  Given<CounterDecider> counter(kCounter, {"call_placed { call_id: 'x' }"});
  const std::string done = "resolve_effect { effect_id: 'x' outcome: SETTLEMENT_DONE reason: 'r' }";
  counter.when(done).refused(Code::kConflict, "effect_id");  // it may still be running
  counter.when("effect_outcome { effect_id: 'x' attempt: 1 unknown: 'crash' }");
  counter.when("resolve_effect { effect_id: 'x' reason: 'r' }")
      .refused(Code::kInvalidArgument, "outcome");
  counter.when("resolve_effect { effect_id: 'x' outcome: SETTLEMENT_DONE }")
      .refused(Code::kInvalidArgument, "reason");
  counter.when(done).then({"counter.call.resolved"});
  EXPECT_EQ(counter.event(0).call_resolved().resolved_by(), "ana");
  EXPECT_EQ(counter.event(0).call_resolved().at_ms(), 1000);
  EXPECT_TRUE(counter.effects().empty());
  counter.when(done).refused(Code::kConflict, "effect_id");
}

TEST(Counter, ASettledRetryIsANewAttempt) {
  Given<CounterDecider> counter(kCounter, {"call_placed { call_id: 'x' }"});
  counter.when("effect_outcome { effect_id: 'x' attempt: 1 unknown: 'crash' }");
  counter.when("resolve_effect { effect_id: 'x' outcome: SETTLEMENT_RETRY reason: 'not there' }")
      .then({"counter.call.resolved"});
  ASSERT_EQ(counter.effects().size(), 1u);
  EXPECT_TRUE(counter.effects()[0].unknown.empty());
  EXPECT_EQ(counter.effects()[0].attempt, 2u);
}

TEST(Idempotency, AKeyStandsForOneRequest) {
  Given<IdempotencyDecider> key(idempotency_key("demo", "k"));
  key.when("claim_key { request_hash: 'h1' route: 'POST /a' }").then({"key.claimed"});
  EXPECT_TRUE(key.reply().fresh());
  EXPECT_EQ(key.reply().round(), 1u);
  key.when("claim_key { request_hash: 'h1' }").then({});
  EXPECT_FALSE(key.reply().fresh());
  key.when("claim_key { request_hash: 'h2' }").refused(Code::kConflict);
  key.when("claim_key { }").refused(Code::kInvalidArgument, "request_hash");
}

TEST(Idempotency, TheFirstAnswerStays) {
  Given<IdempotencyDecider> key(idempotency_key("demo", "k"),
                                {"key_claimed { request_hash: 'h1' round: 1 }"});
  key.when("record_answer { round: 1 answer { status: 202 body: 'first' } }")
      .then({"answer.recorded"});
  key.when("record_answer { round: 1 answer { status: 200 body: 'second' } }").then({});
  EXPECT_EQ(key.state().answer().body(), "first");
  key.when("free_key { round: 1 }").then({});  // an answered key stays taken
  key.when("claim_key { request_hash: 'h1' }").then({});
  EXPECT_TRUE(key.reply().answered());
}

TEST(Idempotency, ARefusalFreesTheKeyAndRaisesTheRound) {
  Given<IdempotencyDecider> key(idempotency_key("demo", "k"),
                                {"key_claimed { request_hash: 'h1' round: 1 }"});
  key.when("free_key { round: 1 reason: 'answered 404' }").then({"key.freed"});
  key.when("claim_key { request_hash: 'h2' }").then({"key.claimed"});
  EXPECT_EQ(key.reply().round(), 2u);
  key.when("record_answer { round: 1 answer { status: 200 } }").then({});  // of the freed round
  EXPECT_FALSE(key.state().has_answer());
}

TEST(Idempotency, KeysOfTenantsAreApart) {
  EXPECT_NE(idempotency_key("a", "k"), idempotency_key("b", "k"));
  EXPECT_EQ(idempotency_key("a", "secret").id.find("secret"), std::string::npos);
}

TEST(Decision, IsMadeOnceAndKeepsItsInputs) {
  Given<DecisionDecider> decision(decision_key("demo", "dec_1"));
  decision
      .when(
          "decide_policy { mode: 'test' input { action_id: 'a' risk_score: 0.9 confidence: 0.1 } }")
      .then({"policy.evaluated"});
  EXPECT_EQ(decision.state().decision().decision_id(), "dec_1");
  EXPECT_FALSE(decision.state().decision().allow());
  EXPECT_EQ(decision.state().decision().input().action_id(), "a");
  decision.when("decide_policy { mode: 'test' }").refused(Code::kConflict);
  Given<DecisionDecider>(decision_key("demo", "dec_2"))
      .when("decide_policy { mode: 'test' input { risk_score: 7 } }")
      .refused(Code::kInvalidArgument, "body.risk_score");
}

TEST(Gateway, RecordsChangesOfTheKillSwitchOnly) {
  Given<GatewayDecider> gateway(gateway_key());
  gateway.when("set_kill_switch { enabled: false }").then({});
  gateway.when("set_kill_switch { enabled: true reason: 'incident' }")
      .then({"gateway.kill_switch.changed"});
  EXPECT_TRUE(gateway.reply().state().kill_switch());
  EXPECT_EQ(gateway.state().changed_by(), "$system/ana");
  gateway.when("set_kill_switch { enabled: true reason: 'again' }").then({});
  EXPECT_EQ(gateway.state().reason(), "incident");
  v1::GatewayCommand long_reason;
  long_reason.mutable_set_kill_switch()->set_reason(std::string(1001, 'x'));
  gateway.when(long_reason).refused(Code::kInvalidArgument, "body.reason");
}

}  // namespace
}  // namespace soma::actors
