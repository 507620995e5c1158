// A turn's way: decided, reserved, recalled, asked, answered; and every way it may end early.
#include "actors/session/session.h"

#include "actors/model/model.h"
#include "soma/v1/approval.pb.h"
#include "soma/v1/tenant.pb.h"
#include "tests/unit/actors/given.h"

namespace soma::actors {
namespace {

using Session = Given<SessionDecider>;
const ActorKey kSession{"demo", "session", "s1", {}};
const std::string kPolicy = " policy { action_id: 'session.turn' risk_score: 0.1 confidence: 0.9 }";
const std::string kSettings =
    " settings { deployment_mode: 'test' budgets_tokens: 5000 version: 2 } constitution { hash: "
    "'c' }";
const std::string kStart =
    "start_session { user: 'ana' prompt: 'hello'" + kSettings + kPolicy + " }";

void granted(Session& s) {
  const auto& turn = s.state().turns(s.state().turns_size() - 1);
  s.when("budget_granted { reservation_id: '" + turn.reservation_id() + "' tokens: 9 }");
}
void recalled(Session& s, const v1::RecallResult& result = {}) {
  v1::SessionCommand c;
  c.mutable_effect_outcome()->set_effect_id(s.effects().at(0).effect_id);
  c.mutable_effect_outcome()->set_attempt(s.effects().at(0).attempt);
  c.mutable_effect_outcome()->set_result(result.SerializeAsString());
  s.when(c);
}
void answered(Session& s) {
  const auto& turn = s.state().turns(s.state().turns_size() - 1);
  s.when(
      "call_succeeded { answer { call_id: '" + turn.call_id() +
      "' output: 'hi' finish_reason: 'stop' usage { prompt_tokens: 7 completion_tokens: 2 } } }");
}

TEST(Session, WhatAPersonIsShownOfAPromptIsCutBetweenCharacters) {
  std::string prompt = "a";
  for (int i = 0; i < 300; ++i) prompt += "\u00e9";  // two bytes: 500 lies within one
  auto start = message<v1::SessionCommand>(kStart);
  start.mutable_start_session()->set_prompt(prompt);
  start.mutable_start_session()->mutable_policy()->set_requires_human(true);
  Session s(kSession);
  s.when(start);
  v1::ApprovalsCommand ask;
  ASSERT_TRUE(ask.ParseFromString(s.sends().at(0).command));
  EXPECT_EQ(ask.request_approval().approval().summary(), prompt.substr(0, 499));
}

TEST(Session, ATurnFromStartToEnd) {
  Session s(kSession);
  s.when(kStart).then({"session.started", "turn.started", "policy.decided", "budget.requested"});
  EXPECT_EQ(s.reply().status(), v1::ACCEPTED);
  EXPECT_EQ(s.event(2).policy_decided().decision().settings_version(), 2u);
  v1::TenantCommand reserve;
  ASSERT_TRUE(reserve.ParseFromString(s.sends().at(0).command));
  EXPECT_EQ(reserve.reserve_budget().holder().id(), "s1");
  granted(s);
  s.then({"budget.reserved"});
  ASSERT_EQ(s.effects().size(), 1u);
  EXPECT_EQ(s.effects()[0].kind, "memory.recall");
  recalled(s, message<v1::RecallResult>("memories { memory_id: 'm' text: 'likes tea' score: 1 }"));
  s.then({"memory.recalled", "model.requested"});
  EXPECT_TRUE(s.effects().empty());
  v1::ModelCommand ask;
  ASSERT_TRUE(ask.ParseFromString(s.sends().at(0).command));
  EXPECT_EQ(s.sends().at(0).to, pool_key("demo", "", 3));
  EXPECT_NE(ask.request_call().request().messages(0).content().find("likes tea"),
            std::string::npos);
  answered(s);
  s.then({"model.answered", "turn.completed", "session.completed"});
  ASSERT_EQ(s.sends().size(), 2u);  // the budget settled, the memory written
  v1::TenantCommand settle;
  ASSERT_TRUE(settle.ParseFromString(s.sends()[0].command));
  EXPECT_EQ(settle.settle_budget().used_tokens(), 9);
  EXPECT_EQ(s.state().status(), v1::COMPLETED);
  EXPECT_EQ(s.state().turns(0).answer(), "hi");
}

TEST(Session, AFurtherTurnSeesTheEarlierOnes) {
  Session s(kSession);
  s.when(kStart);
  granted(s);
  recalled(s);
  answered(s);
  s.when("send_message { content: 'and now?'" + kSettings + kPolicy + " }")
      .then({"session.continued", "turn.started", "policy.decided", "budget.requested"});
  EXPECT_EQ(s.reply().turn(), 2u);
  granted(s);
  recalled(s);
  EXPECT_EQ(s.event(1).model_requested().from_turns(0), 1u);
  v1::ModelCommand ask;
  ASSERT_TRUE(ask.ParseFromString(s.sends().at(0).command));
  const auto& messages = ask.request_call().request().messages();
  ASSERT_EQ(messages.size(), 4);
  EXPECT_EQ(messages.at(2).content(), "hi");
}

TEST(Session, TheProfileOfTheTurnChoosesTheModelUnlessTheSessionNamesOne) {
  const std::string plan = " models { primary: 'big' fallbacks: 'small' profile: 'default' }";
  const auto asked = [](Session& s) {
    granted(s);
    recalled(s);
    v1::ModelCommand ask;
    EXPECT_TRUE(ask.ParseFromString(s.sends().at(0).command));
    return ask.request_call().request();
  };
  Session s(kSession);
  s.when("start_session { prompt: 'hello'" + kSettings + kPolicy + plan + " }");
  auto request = asked(s);
  EXPECT_EQ(s.sends().at(0).to, pool_key("demo", "big", 3));
  EXPECT_EQ(request.model() + " " + request.fallbacks(0) + " " + request.profile(),
            "big small default");
  answered(s);
  // The next turn follows the profile as it is then.
  s.when("send_message { content: 'more'" + kSettings + kPolicy + " models { primary: 'new' } }");
  request = asked(s);
  EXPECT_EQ(request.model(), "new");
  EXPECT_TRUE(request.fallbacks().empty());
  s.when("cancel_session {}").then({"session.cancelled"});
  EXPECT_EQ(s.sends().at(0).to, pool_key("demo", "new", 3)) << "the call is where it was asked for";
  Session named(kSession);
  named.when("start_session { prompt: 'hello' model: 'mine'" + kSettings + kPolicy + plan + " }");
  EXPECT_EQ(asked(named).model(), "mine");
  EXPECT_FALSE(named.state().turns(0).has_models());
}

TEST(Session, BadStartsAreRefusedByName) {
  Session(kSession)
      .when("start_session { prompt: '' }")
      .refused(Code::kInvalidArgument, "body.prompt");
  Session(kSession)
      .when("start_session { prompt: 'x'" + kSettings + " policy { risk_score: 2 } }")
      .refused(Code::kInvalidArgument, "body.risk_score");
  Session s(kSession);
  s.when(kStart);
  s.when(kStart).refused(Code::kConflict);
}

TEST(Session, WhatIsNotThereCannotBeSpokenTo) {
  for (const char* c :
       {"send_message { content: 'x' }", "cancel_session {}", "complete_session {}"})
    Session(kSession).when(c).refused(Code::kNotFound);
}

TEST(Session, ADeniedTurnIsAFailedSession) {
  Session s(kSession);
  s.when("start_session { prompt: 'x'" + kSettings + " policy { risk_score: 1 confidence: 0 } }")
      .then({"session.started", "turn.started", "policy.decided", "turn.failed", "session.failed"});
  EXPECT_EQ(s.reply().status(), v1::FAILED);
  EXPECT_EQ(s.state().error().code(), "policy_denied");
  EXPECT_TRUE(s.sends().empty());
  EXPECT_TRUE(s.effects().empty());
}

TEST(Session, AnEmptyBudgetFailsTheTurn) {
  Session s(kSession);
  s.when(kStart);
  s.when("budget_denied { reservation_id: '" + s.state().turns(0).reservation_id() +
         "' remaining_tokens: 3 }")
      .then({"turn.failed", "session.failed"});
  EXPECT_EQ(s.state().error().code(), "budget_exhausted");
}

TEST(Session, ADeadModelFailsTheTurnAndGivesTheBudgetBack) {
  Session s(kSession);
  s.when(kStart);
  granted(s);
  recalled(s);
  s.when("call_died { call_id: '" + s.state().turns(0).call_id() +
         "' failure { code: 'model_unavailable' } }")
      .then({"turn.failed", "session.failed"});
  v1::TenantCommand back;
  ASSERT_TRUE(back.ParseFromString(s.sends().at(0).command));
  EXPECT_TRUE(back.has_release_budget());
  s.when("send_message { content: 'again'" + kSettings + kPolicy + " }")
      .then({"session.continued", "turn.started", "policy.decided", "budget.requested"});
}

TEST(Session, CancellingStopsTheCallAndLateAnswersChangeNothing) {
  Session s(kSession);
  s.when(kStart);
  granted(s);
  recalled(s);
  const std::string call = s.state().turns(0).call_id();
  s.when("send_message { content: 'x' }").refused(Code::kConflict);  // a turn is in progress
  s.when("complete_session {}").refused(Code::kConflict);
  s.when("cancel_session { reason: 'enough' }").then({"session.cancelled"});
  EXPECT_EQ(s.sends().size(), 2u);  // the call, the budget
  s.when("call_succeeded { answer { call_id: '" + call + "' output: 'late' } }").then({});
  EXPECT_EQ(s.state().turns(0).answer(), "");
  s.when("cancel_session {}").then({});
  s.when("send_message { content: 'go on'" + kSettings + kPolicy +
         " }")  // the turn was, not the session
      .then({"session.continued", "turn.started", "policy.decided", "budget.requested"});
}

TEST(Session, ABudgetGrantedTooLateGoesBack) {
  Session s(kSession);
  s.when(kStart);
  const std::string reservation = s.state().turns(0).reservation_id();
  s.when("cancel_session {}");
  s.when("budget_granted { reservation_id: '" + reservation + "' tokens: 9 }").then({});
  v1::TenantCommand back;
  ASSERT_TRUE(back.ParseFromString(s.sends().at(0).command));
  EXPECT_EQ(back.release_budget().reservation_id(), reservation);
}

TEST(Session, ARecallIsRetriedAndThenDoneWithout) {
  Session s(kSession);
  s.when(kStart);
  granted(s);
  for (std::uint32_t attempt = 1; attempt <= 3; ++attempt) {
    v1::SessionCommand c;
    c.mutable_effect_outcome()->set_effect_id(s.effects().at(0).effect_id);
    c.mutable_effect_outcome()->set_attempt(attempt);
    c.mutable_effect_outcome()->mutable_failure()->set_retryable(true);
    s.when(c);
    if (attempt < 3) s.then({"memory.recall_retried"});
  }
  s.then({"memory.recalled", "model.requested"});
  EXPECT_TRUE(s.event(0).memory_recalled().degraded());
}

TEST(Session, ARestartedCallIsTold) {
  Session s(kSession);
  s.when(kStart);
  granted(s);
  recalled(s);
  s.when("call_progress { call_id: '" + s.state().turns(0).call_id() + "' attempt: 2 }")
      .then({"model.restarted"});
  s.when("call_progress { call_id: 'other' attempt: 3 }").then({});
}

}  // namespace
}  // namespace soma::actors
