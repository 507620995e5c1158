// A model call that was not sent, as other terms are in force: judged again by who asked for it.
#include "actors/approvals/approvals.h"
#include "actors/inference/inference.h"
#include "actors/model/model.h"
#include "actors/session/session.h"
#include "soma/v1/approval.pb.h"
#include "soma/v1/tenant.pb.h"
#include "tests/unit/actors/given.h"

namespace soma::actors {
namespace {

const ActorKey kSession{"demo", "session", "s1", {}};
const std::string kAsker =
    " asker { subject: 'ana' tenant: 'demo' capabilities: 'session:start' } ";

// A turn up to its model call, allowed or approved.
class AskedTurn : public Given<SessionDecider> {
 public:
  explicit AskedTurn(bool person = false) : Given(kSession) {
    when(std::string("start_session { user: 'ana' prompt: 'hello' settings { deployment_mode: "
                     "'test' budgets_tokens: 5000 } policy { action_id: 'session.turn' capability: "
                     "'session:start' risk_score: 0.1 confidence: 0.9 ") +
         (person ? "requires_human: true" : "") +
         " } constitution { hash: 'c' } rules { number: 1 hash: 'r' } }");
    if (person) approve();
    to_call();
  }
  const v1::Turn& turn() const { return state().turns(state().turns_size() - 1); }
  void approve(const std::string& terms =
                   "settings { deployment_mode: 'test' } constitution { "
                   "hash: 'c' } rules { number: 1 hash: 'r' }") {
    when("approval_decided { approval_id: '" + turn().approval_id() +
         "' approved: true decided_by: 'ben' action_hash: '" + turn().action_hash() + "' terms { " +
         terms + " } }");
  }
  void to_call() {
    when("budget_granted { reservation_id: '" + turn().reservation_id() + "' tokens: 9 }");
    v1::SessionCommand c;
    c.mutable_effect_outcome()->set_effect_id(effects().at(0).effect_id);
    c.mutable_effect_outcome()->set_attempt(1);
    c.mutable_effect_outcome()->set_result("");
    when(c);
  }
  AskedTurn& held(const std::string& terms, std::uint32_t attempt = 1) {
    when("call_held { call_id: '" + turn().call_id() + "' attempt: " + std::to_string(attempt) +
         " terms { " + terms + " } }");
    return *this;
  }
  v1::ModelRequest request() const {
    v1::ModelCommand ask;
    EXPECT_TRUE(ask.ParseFromString(sends().back().command));
    return ask.request_call().request();
  }
};

TEST(HeldCall, CarriesWhatItWasAllowedUnder) {
  const AskedTurn s;
  const auto terms = s.request().terms();
  EXPECT_EQ(terms.constitution_hash(), "c");
  EXPECT_EQ(terms.rules_hash(), "r");
  EXPECT_EQ(terms.mode(), "test");
  EXPECT_EQ(terms.asker().subject(), "ana");
  EXPECT_EQ(terms.asker().tenant(), "demo");
  EXPECT_EQ(terms.action(), "session.turn");
  EXPECT_EQ(terms.capability(), "session:start");
}

TEST(HeldCall, AllowedByWhatIsInForceNowItIsPaidForAndAskedAgain) {
  AskedTurn s;
  const std::string reservation = s.turn().reservation_id(), call = s.turn().call_id();
  s.held("settings { deployment_mode: 'test' version: 7 } constitution { hash: 'newer' }" + kAsker,
         2)
      .then({"policy.decided", "turn.judged_again", "budget.requested"});
  EXPECT_EQ(s.event(0).policy_decided().decision().asker().subject(), "ana");
  EXPECT_EQ(s.state().constitution_hash(), "newer");
  EXPECT_EQ(s.turn().stage(), v1::RESERVING);
  ASSERT_EQ(s.sends().size(), 2u);
  v1::TenantCommand back, again;
  ASSERT_TRUE(back.ParseFromString(s.sends()[0].command));
  ASSERT_TRUE(again.ParseFromString(s.sends()[1].command));
  EXPECT_EQ(back.release_budget().reservation_id(), reservation);
  EXPECT_NE(again.reserve_budget().reservation_id(), reservation);
  EXPECT_EQ(again.reserve_budget().user(), "ana");
  s.to_call();
  s.then({"memory.recalled", "model.requested", "model.restarted"});
  EXPECT_NE(s.turn().call_id(), call);
  EXPECT_EQ(s.request().attempts_before(), 2u) << "streams are told of attempt 3";
  EXPECT_EQ(s.request().terms().constitution_hash(), "newer");
  EXPECT_EQ(s.request().terms().settings_version(), 7u);
  s.when("call_held { call_id: '" + call + "' terms { halted: true } }").then({});  // of the first
}

TEST(HeldCall, RefusedByWhatIsInForceNowTheTurnFailsAndItsBudgetGoesBack) {
  struct Case {
    std::string terms, code, reason;
  };
  const std::string same =
      "settings { deployment_mode: 'test' } constitution { hash: 'c' }" + kAsker;
  for (const auto& c :
       {Case{"settings { deployment_mode: 'test' } constitution { hash: 'd' rules { maximum_risk: "
             "0.05 } }" +
                 kAsker,
             "policy_denied", "risk_above_maximum"},
        Case{same + "rules { number: 2 hash: 'x' text: '@id(\"not-ana\") forbid(principal == "
                    "User::\"ana\", action, resource);' }",
             "policy_denied", "rule:not-ana"},
        Case{"settings { deployment_mode: 'test' policy { threshold: 0.99 } } constitution { hash: "
             "'c' }" +
                 kAsker,
             "policy_denied", "score_below_threshold"},
        Case{"settings { deployment_mode: 'test' }" + kAsker, "policy_denied",
             "constitution_missing"},
        Case{same + "halted: true", "kill_switch_active", ""},
        Case{same + "asker_out: 'who asked is not admitted any more'", "asker_not_admitted", ""},
        Case{"", "policy_error", ""}}) {
    AskedTurn s;
    const std::string reservation = s.turn().reservation_id();
    s.held(c.terms);
    EXPECT_EQ(s.state().status(), v1::FAILED) << c.code << c.reason;
    EXPECT_EQ(s.turn().error().code(), c.code);
    EXPECT_NE(s.turn().error().message().find(c.reason), std::string::npos)
        << s.turn().error().message();
    ASSERT_EQ(s.sends().size(), 1u);
    v1::TenantCommand back;
    ASSERT_TRUE(back.ParseFromString(s.sends()[0].command));
    EXPECT_EQ(back.release_budget().reservation_id(), reservation);
  }
}

TEST(HeldCall, APersonWhoIsAskedForNowIsWaitedFor) {
  AskedTurn s;
  s.held(
       "settings { deployment_mode: 'test' } constitution { hash: 'd' rules { "
       "human_approval_above_risk: 0.05 } }" +
       kAsker)
      .then({"policy.decided", "turn.judged_again", "approval.requested"});
  EXPECT_EQ(s.state().status(), v1::WAITING_APPROVAL);
  v1::ApprovalsCommand ask;
  ASSERT_TRUE(ask.ParseFromString(s.sends().back().command));
  EXPECT_EQ(ask.request_approval().approval().requested_by(), "ana") << "who may not approve it";
  EXPECT_EQ(ask.request_approval().approval().action_hash(), s.turn().action_hash());
  s.approve(
      "settings { deployment_mode: 'test' } constitution { hash: 'd' rules { "
      "human_approval_above_risk: 0.05 } }");
  s.then({"policy.decided", "approval.granted", "budget.requested"});
  EXPECT_EQ(s.event(0).policy_decided().decision().asker().subject(), "ana");
  s.to_call();
  // One has agreed: another constitution that asks for a person asks for nobody else.
  s.held(
       "settings { deployment_mode: 'test' } constitution { hash: 'e' rules { "
       "human_approval_above_risk: 0.04 } }" +
       kAsker)
      .then({"policy.decided", "turn.judged_again", "budget.requested"});
}

TEST(HeldCall, AnApprovedTurnWaitsAgainWithTheReason) {
  AskedTurn s(true);
  const std::string approval = s.turn().approval_id();
  s.held("settings { deployment_mode: 'test' } constitution { hash: 'c' } halted: true" + kAsker)
      .then({"policy.decided", "turn.reopened"});
  EXPECT_EQ(s.state().status(), v1::WAITING_APPROVAL);
  EXPECT_EQ(s.turn().approval_id(), approval);
  EXPECT_EQ(s.turn().error().code(), "kill_switch_active");
  s.approve();
  s.to_call();
  EXPECT_EQ(s.request().attempts_before(), 0u);
}

TEST(HeldCall, ASessionsOwnBudgetIsWeighedAgain) {
  AskedTurn s;
  s.held(
      "settings { deployment_mode: 'test' budgets { scope: 'session' unit: 'tokens' window: "
      "'total' hard: 1 } } constitution { hash: 'c' }" +
      kAsker);
  EXPECT_EQ(s.turn().error().code(), "budget_exhausted");
  EXPECT_EQ(s.sends().size(), 1u) << "what was reserved goes back, and nothing is reserved";
}

TEST(HeldCall, LeavesItsSlotInThePoolAndItsAttemptsCountOn) {
  Given<ModelDecider> pool(pool_key("demo", "", 3), {"pool_configured { slots: 1 }"});
  const auto ask = [](const std::string& id, const std::string& more = {}) {
    return "request_call { request { call_id: '" + id +
           "' caller { tenant: 'demo' type: 'inference' id: 'i' } " + more + " } }";
  };
  pool.when(ask("a", "attempts_before: 2")).then({"call.queued", "call.started"});
  EXPECT_EQ(pool.effects().at(0).attempt, 3u);
  pool.when(ask("b")).then({"call.queued"});
  v1::ModelAnswer answer;
  answer.mutable_held()->set_halted(true);
  v1::ModelCommand outcome;
  outcome.mutable_effect_outcome()->set_effect_id("a");
  outcome.mutable_effect_outcome()->set_attempt(3);
  outcome.mutable_effect_outcome()->set_result(answer.SerializeAsString());
  pool.when(outcome).then({"call.held", "call.started"});
  v1::InferenceCommand told;
  ASSERT_TRUE(told.ParseFromString(pool.sends().at(0).command));
  EXPECT_EQ(told.call_held().call_id(), "a");
  EXPECT_EQ(told.call_held().attempt(), 3u);
  EXPECT_TRUE(told.call_held().terms().halted());
  EXPECT_EQ(pool.effects().at(0).effect_id, "b");
  EXPECT_EQ(pool.state().failed(), 0u) << "no fault of the model";
}

// A single call, up to where it is asked.
class Single : public Given<InferenceDecider> {
 public:
  explicit Single(const std::string& more = {}, const std::string& mode = "chat")
      : Given({"demo", "inference", "i1", {}}) {
    when("start_inference { request { mode: '" + mode +
         "' messages { role: 'user' content: 'hi' } } settings { deployment_mode: 'test' version: "
         "4 } constitution { hash: 'c' rules { prohibited_actions: 'nuke' } } policy { action_id: "
         "'slm.chat' capability: 'slm:infer' confidence: 0.9 risk_score: 0.1 } " +
         more + " }");
    granted();
  }
  void granted() {
    when("budget_granted { reservation_id: '" + state().reservation_id() + "' tokens: 100 }");
  }
  Single& held(const std::string& terms) {
    when("call_held { call_id: '" + state().request().call_id() + "' attempt: 1 terms { " + terms +
         " } }");
    return *this;
  }
  v1::ModelRequest request() const {
    v1::ModelCommand ask;
    EXPECT_TRUE(ask.ParseFromString(sends().back().command));
    return ask.request_call().request();
  }
};

TEST(HeldCall, ASingleCallIsJudgedAgainUnderItsOwnId) {
  Single call;
  const std::string id = call.state().request().call_id(), old = call.state().reservation_id();
  EXPECT_EQ(call.request().terms().settings_version(), 4u);
  call.held("settings { deployment_mode: 'test' version: 5 } constitution { hash: 'd' }" + kAsker)
      .then({"policy.decided", "inference.judged_again"});
  EXPECT_EQ(call.state().stage(), v1::INFERENCE_RESERVING);
  EXPECT_NE(call.state().reservation_id(), old);
  ASSERT_EQ(call.sends().size(), 2u);
  call.granted();
  EXPECT_EQ(call.request().call_id(), id) << "whoever streams its tokens knows no other";
  EXPECT_EQ(call.request().attempts_before(), 1u);
  EXPECT_EQ(call.request().terms().settings_version(), 5u);
  EXPECT_EQ(call.request().terms().constitution_hash(), "d");
}

TEST(HeldCall, ASingleCallThatNeedsAPersonNowOrIsRefusedFails) {
  struct Case {
    std::string terms, code;
  };
  const std::string settings = "settings { deployment_mode: 'test' } ";
  for (const auto& c :
       {Case{settings + "constitution { hash: 'd' rules { human_approval_above_risk: 0.05 } }",
             "policy_denied"},
        Case{settings + "constitution { hash: 'd' rules { maximum_risk: 0.05 } }", "policy_denied"},
        Case{settings + "constitution { hash: 'c' } halted: true", "kill_switch_active"},
        Case{settings + "constitution { hash: 'c' } asker_out: 'x'", "asker_not_admitted"}}) {
    Single call;
    call.held(c.terms + kAsker).then({"policy.decided", "inference.failed"});
    EXPECT_EQ(call.state().error().code(), c.code);
    ASSERT_EQ(call.sends().size(), 1u);
    v1::TenantCommand back;
    ASSERT_TRUE(back.ParseFromString(call.sends()[0].command));
    EXPECT_TRUE(back.has_release_budget());
  }
}

TEST(HeldCall, AnEmbeddingIsJudgedAgainAndItsAttemptsCountOn) {
  Single call({}, "embedding");
  ASSERT_EQ(call.effects().size(), 1u);
  v1::EmbedRequest asked;
  ASSERT_TRUE(asked.ParseFromString(call.effects()[0].request));
  EXPECT_EQ(asked.terms().constitution_hash(), "c");
  v1::EmbedResult held;
  *held.mutable_held() = message<v1::StartTerms>(
      "settings { deployment_mode: 'test' version: 5 } constitution { hash: 'd' }" + kAsker);
  v1::InferenceCommand outcome;
  outcome.mutable_effect_outcome()->set_effect_id(call.effects()[0].effect_id);
  outcome.mutable_effect_outcome()->set_attempt(1);
  outcome.mutable_effect_outcome()->set_result(held.SerializeAsString());
  call.when(outcome);
  call.then({"policy.decided", "inference.judged_again"});
  EXPECT_TRUE(call.effects().empty());
  call.granted();
  ASSERT_EQ(call.effects().size(), 1u);
  EXPECT_EQ(call.effects()[0].attempt, 2u) << "another outcome than the first";
}

TEST(ChatTools, EachCallIsJudgedByItselfAndOnlyWhatIsAllowedIsHandedOut) {
  Single call(
      "tools { tools { tool { name: 'look' parameters_json: '{}' } } tools { tool { name: 'pay' } "
      "requires_human: true } tools { tool { name: 'nuke' } } }");
  EXPECT_EQ(call.request().tools_size(), 3);
  EXPECT_TRUE(call.request().terms().tools());
  v1::InferenceCommand answered;
  auto* a = answered.mutable_call_succeeded()->mutable_answer();
  a->set_call_id(call.state().request().call_id());
  a->set_finish_reason("tool_calls");
  for (const auto& [name, arguments] : std::vector<std::pair<std::string, std::string>>{
           {"look", "{}"}, {"pay", "{}"}, {"nuke", "{}"}, {"made_up", "{}"}, {"look", "no JSON"}}) {
    auto* c = a->add_tool_calls();
    c->set_id("same");
    c->set_name(name);
    c->set_arguments(arguments);
  }
  call.when(answered);
  call.then({"policy.decided", "policy.decided", "policy.decided", "policy.decided",
             "policy.decided", "inference.answered"});
  ASSERT_EQ(call.state().tool_calls_size(), 5);
  std::vector<std::string> codes;
  for (const auto& c : call.state().tool_calls()) codes.push_back(c.denial().code());
  EXPECT_EQ(codes, (std::vector<std::string>{"", "approval_required", "policy_denied",
                                             "unknown_tool", "arguments_invalid"}));
  EXPECT_EQ(call.state().tool_calls(0).status(), v1::CALL_REQUESTED);
  for (int i = 1; i < 5; ++i) EXPECT_EQ(call.state().tool_calls(i).status(), v1::CALL_DENIED);
  EXPECT_FALSE(call.event(1).policy_decided().decision().allow()) << "nobody is asked";
  const auto& first = call.event(0).policy_decided();
  EXPECT_EQ(first.tool_call_id(), call.state().tool_calls(0).call_id());
  EXPECT_EQ(first.decision().input().capability(), "tool:look");
  EXPECT_EQ(first.decision().asker().subject(), "ana");
  EXPECT_EQ(first.decision().asker().session(), "") << "it is of no session";
}

TEST(ChatTools, AreJudgedUnderWhatTheCallWasSentUnder) {
  Single call("tools { tools { tool { name: 'look' } } }");
  call.held(
      "settings { deployment_mode: 'test' version: 5 } constitution { hash: 'd' rules { "
      "prohibited_actions: 'look' } }" +
      kAsker);
  call.granted();
  call.when(
      "call_succeeded { answer { call_id: '" + call.state().request().call_id() +
      "' finish_reason: 'tool_calls' tool_calls { id: '1' name: 'look' arguments: '{}' } } }");
  ASSERT_EQ(call.state().tool_calls_size(), 1);
  EXPECT_EQ(call.state().tool_calls(0).status(), v1::CALL_DENIED);
  EXPECT_EQ(call.event(0).policy_decided().decision().constitution_hash(), "d");
}

TEST(ChatTools, AreCheckedAndCountedAsInput) {
  Given<InferenceDecider> call({"demo", "inference", "i1", {}});
  call.when(
          "start_inference { request { messages { content: 'hi' } } settings { deployment_mode: "
          "'test' } constitution { hash: 'c' } policy { confidence: 0.9 } tools { tools { tool { "
          "name: 'a b' } } } }")
      .refused(Code::kInvalidArgument, "body.tools.0.function.name");
  call.when(
      "start_inference { request { messages { content: 'hi' } } settings { deployment_mode: "
      "'test' } constitution { hash: 'c' } policy { confidence: 0.9 } tools { tools { tool { "
      "name: 'a' description: '" +
      std::string(3000, 'x') + "' } } } }");
  EXPECT_GT(call.state().reserved_tokens(), 1000);
}

}  // namespace
}  // namespace soma::actors
