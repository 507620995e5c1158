// Tools of a turn: each call judged by itself, handed out or not, answered once, asked again.
#include <set>

#include "actors/approvals/approvals.h"
#include "actors/session/session.h"
#include "actors/session/tools.h"
#include "schemas/base/sha256.h"
#include "soma/v1/approval.pb.h"
#include "soma/v1/tenant.pb.h"
#include "tests/unit/actors/given.h"

namespace soma::actors {
namespace {

const ActorKey kSession{"demo", "session", "s1", {}};

// A session whose model may ask for `look` and `pay` (with a person) and `nuke` (prohibited).
class Talk : public Given<SessionDecider> {
 public:
  explicit Talk(const std::string& more = {}, const std::string& rules = {}, bool person = false)
      : Given(kSession), rules_(rules) {
    v1::SessionCommand c = message<v1::SessionCommand>(
        "start_session { user: 'ana' prompt: 'hello' settings { deployment_mode: 'test' "
        "budgets_tokens: 5000 } policy { action_id: 'session.turn' risk_score: 0.1 confidence: 0.9 "
        "} constitution { hash: 'c' rules { prohibited_actions: 'nuke' } } tools { tools { tool { "
        "name: 'look' description: 'looks' parameters_json: '{}' } } tools { tool { name: 'pay' } "
        "requires_human: true } tools { tool { name: 'nuke' } } } " +
        more + " }");
    c.mutable_start_session()->mutable_policy()->set_requires_human(person);
    if (!rules_.empty()) {
      c.mutable_start_session()->mutable_tools()->mutable_rules()->set_number(1);
      c.mutable_start_session()->mutable_tools()->mutable_rules()->set_hash(sha256_hex(rules_));
      c.mutable_start_session()->mutable_tools()->mutable_rules()->set_text(rules_);
    }
    when(c);
  }
  const v1::Turn& turn() const { return state().turns(state().turns_size() - 1); }
  const v1::ToolCall& call(int i, int round = -1) const {
    return turn().tool_rounds(round < 0 ? turn().tool_rounds_size() - 1 : round).calls(i);
  }
  Talk& granted() {
    when("budget_granted { reservation_id: '" + turn().reservation_id() + "' tokens: 9 }");
    return *this;
  }
  Talk& recalled() {
    v1::SessionCommand c;
    c.mutable_effect_outcome()->set_effect_id(effects().at(0).effect_id);
    c.mutable_effect_outcome()->set_attempt(1);
    c.mutable_effect_outcome()->set_result("");
    when(c);
    return *this;
  }
  Talk& asks(const std::vector<std::pair<std::string, std::string>>& calls) {
    v1::SessionCommand c;
    auto* a = c.mutable_call_succeeded()->mutable_answer();
    a->set_call_id(turn().call_id());
    a->set_finish_reason("tool_calls");
    a->mutable_usage()->set_prompt_tokens(7);
    a->mutable_usage()->set_completion_tokens(2);
    for (const auto& [name, arguments] : calls) {
      a->add_tool_calls()->set_id("same");
      a->mutable_tool_calls(a->tool_calls_size() - 1)->set_name(name);
      a->mutable_tool_calls(a->tool_calls_size() - 1)->set_arguments(arguments);
    }
    when(c);
    return *this;
  }
  Talk& result(const std::string& call_id, const std::string& output, bool is_error = false) {
    v1::SessionCommand c;
    c.mutable_submit_tool_result()->set_call_id(call_id);
    c.mutable_submit_tool_result()->set_output(output);
    c.mutable_submit_tool_result()->set_is_error(is_error);
    when(c);
    return *this;
  }
  Talk& answers(const std::string& text) {
    when("call_succeeded { answer { call_id: '" + turn().call_id() + "' output: '" + text +
         "' finish_reason: 'stop' usage { prompt_tokens: 5 completion_tokens: 1 } } }");
    return *this;
  }
  Talk& decides(const std::string& approval, bool yes, const std::string& hash,
                const std::string& terms =
                    "settings { deployment_mode: 'test' } constitution { "
                    "hash: 'c' }") {
    when("approval_decided { approval_id: '" + approval +
         "' approved: " + (yes ? "true" : "false") + " decided_by: 'ben' action_hash: '" + hash +
         "' terms { " + terms + " } }");
    return *this;
  }
  v1::ModelRequest request() const {
    v1::ModelCommand ask;
    EXPECT_TRUE(ask.ParseFromString(sends().back().command));
    return ask.request_call().request();
  }

 private:
  const std::string rules_;
};

TEST(SessionTools, AnAllowedCallIsHandedOutAndItsResultAnswered) {
  Talk s;
  s.granted().recalled();
  EXPECT_EQ(s.request().tools_size(), 3);
  EXPECT_EQ(s.request().tools(0).description(), "looks");
  s.asks({{"look", "{\"at\": 1}"}})
      .then({"model.answered", "policy.decided", "tool.call.requested", "tools.awaited"});
  EXPECT_EQ(s.state().status(), v1::WAITING_TOOLS);
  const auto decision = s.event(1).policy_decided();
  EXPECT_EQ(decision.tool_call_id(), s.call(0).call_id());
  EXPECT_EQ(decision.decision().input().action_id(), "look");
  EXPECT_EQ(decision.decision().input().capability(), "tool:look");
  EXPECT_EQ(s.call(0).decision_id(), decision.decision().decision_id());
  EXPECT_NE(s.turn().decision().decision_id(), s.call(0).decision_id()) << "the turn keeps its own";
  v1::TenantCommand settle;
  ASSERT_TRUE(settle.ParseFromString(s.sends().at(0).command));
  EXPECT_EQ(settle.settle_budget().used_tokens(), 9);
  const std::string id = s.call(0).call_id();
  s.result(id, "a cat").then({"tool.call.answered", "tools.settled", "budget.requested"});
  s.result(id, "a cat").then({});  // told twice: once
  s.result(id, "a dog").refused(Code::kConflict);
  s.result(id, "a cat", true).refused(Code::kConflict);
  s.granted().then({"budget.reserved", "model.requested"});
  const auto asked = s.request();
  ASSERT_EQ(asked.messages_size(), 4);  // system, user, assistant, tool
  EXPECT_EQ(asked.messages(2).tool_calls(0).id(), id);
  EXPECT_EQ(asked.messages(2).tool_calls(0).arguments(), "{\"at\": 1}");
  EXPECT_EQ(asked.messages(3).tool_call_id(), id);
  EXPECT_EQ(asked.messages(3).content(), "a cat");
  s.answers("a cat it is").then({"model.answered", "turn.completed", "session.completed"});
  EXPECT_EQ(s.state().turns(0).answer(), "a cat it is");
  EXPECT_EQ(s.state().turns(0).usage().prompt_tokens(), 12u) << "of both calls";
  EXPECT_FALSE(s.state().turns(0).has_tools());
  s.result(id, "a cat").then({});
}

TEST(SessionTools, WhatIsDeniedIsNeverHandedOutAndTheModelIsTold) {
  Talk s({}, "@id(\"no-dogs\") forbid(principal, action == Action::\"look\", resource);");
  s.granted().recalled();
  s.asks({{"nuke", "{}"}, {"look", "{}"}, {"rm", "{}"}, {"pay", "not json"}, {"pay", "[1]"}})
      .then({"model.answered", "policy.decided", "tool.call.denied", "policy.decided",
             "tool.call.denied", "policy.decided", "tool.call.denied", "policy.decided",
             "tool.call.denied", "policy.decided", "tool.call.denied", "tools.settled",
             "budget.requested"});
  const auto why = [&](int i) {
    const auto& d = s.event(static_cast<std::size_t>(1 + 2 * i)).policy_decided().decision();
    EXPECT_FALSE(d.allow() || d.needs_approval());
    EXPECT_TRUE(d.denied());
    EXPECT_EQ(s.call(i).status(), v1::CALL_DENIED);
    return s.call(i).denial().code() + " " + d.reason_codes(d.reason_codes_size() - 1);
  };
  EXPECT_EQ(why(0), "policy_denied prohibited_action");
  EXPECT_EQ(why(1), "policy_denied rule:no-dogs");
  EXPECT_EQ(why(2), "unknown_tool unknown_tool");
  EXPECT_EQ(why(3), "arguments_invalid arguments_invalid");
  EXPECT_EQ(why(4), "arguments_invalid arguments_invalid");
  s.result(s.call(0).call_id(), "boom").refused(Code::kConflict);
  s.result("tool_none", "boom").refused(Code::kNotFound);
  s.granted();
  const auto asked = s.request();
  ASSERT_EQ(asked.messages_size(), 3 + 5);
  EXPECT_NE(asked.messages(3).content().find("prohibited_action"), std::string::npos);
  std::set<std::string> ids;
  for (const auto& c : asked.messages(2).tool_calls()) ids.insert(c.id());
  EXPECT_EQ(ids.size(), 5u) << "ours, where the model repeats its own";
}

TEST(SessionTools, APersonDecidesOneCallWhileOthersAreAnswered) {
  Talk s;
  s.granted().recalled();
  s.asks({{"pay", "{\"eur\": 5}"}, {"look", ""}})
      .then({"model.answered", "policy.decided", "tool.approval.requested", "policy.decided",
             "tool.call.requested", "tools.awaited"});
  EXPECT_EQ(s.state().status(), v1::WAITING_APPROVAL);
  EXPECT_TRUE(s.effects().empty()) << "results have time while a person decides";
  v1::ApprovalsCommand ask;
  ASSERT_TRUE(ask.ParseFromString(s.sends().back().command));
  const auto approval = ask.request_approval().approval();
  EXPECT_EQ(approval.requested_by(), "ana");
  EXPECT_EQ(approval.action(), "tool.call");
  EXPECT_EQ(approval.summary(), "pay {\"eur\": 5}");
  EXPECT_EQ(approval.action_hash(), s.call(0).action_hash());
  s.result(s.call(0).call_id(), "paid").refused(Code::kConflict);
  s.result(s.call(1).call_id(), "a cat").then({"tool.call.answered"});
  EXPECT_EQ(s.state().status(), v1::WAITING_APPROVAL);
  s.decides(approval.approval_id(), true, approval.action_hash())
      .then({"policy.decided", "tool.call.requested", "tools.awaited"});
  EXPECT_EQ(s.call(0).approved_by(), "ben");
  EXPECT_EQ(s.state().status(), v1::WAITING_TOOLS);
  s.decides(approval.approval_id(), false, approval.action_hash()).then({});
  s.result(s.call(0).call_id(), "paid")
      .then({"tool.call.answered", "tools.settled", "budget.requested"});
}

// A call is handed out under what is in force when a person has approved it.
TEST(SessionTools, AnApprovedCallThatIsNotAllowedAnyMoreWaitsAgain) {
  const std::string mode = "settings { deployment_mode: 'test' } ";
  for (const auto& [terms, code] : std::vector<std::pair<std::string, std::string>>{
           {mode + "constitution { hash: 'd' rules { prohibited_actions: 'pay' } }",
            "policy_denied"},
           {mode + "constitution { hash: 'c' } rules { number: 2 hash: 'r' text: "
                   "'@id(\"no\") forbid(principal == User::\"ana\", action == Action::\"pay\", "
                   "resource);' }",
            "policy_denied"},
           {mode + "constitution { hash: 'c' } halted: true", "kill_switch_active"},
           {"", "policy_denied"}}) {
    Talk s;
    s.granted().recalled();
    s.asks({{"pay", "{}"}});
    const auto call = s.call(0);
    s.decides(call.approval_id(), true, call.action_hash(), terms).then({"policy.decided"});
    EXPECT_EQ(s.event(0).policy_decided().tool_call_id(), call.call_id());
    EXPECT_EQ(s.event(0).policy_decided().decision().input().action_id(), "pay");
    EXPECT_EQ(s.call(0).status(), v1::CALL_AWAITS_APPROVAL) << terms;
    EXPECT_EQ(s.state().status(), v1::WAITING_APPROVAL);
    ASSERT_EQ(s.sends().size(), 1u);
    v1::ApprovalsCommand told;
    ASSERT_TRUE(told.ParseFromString(s.sends()[0].command));
    EXPECT_EQ(told.approval_failed().approval_id(), call.approval_id());
    EXPECT_EQ(told.approval_failed().failure().code(), code) << terms;
    s.result(call.call_id(), "paid").refused(Code::kConflict);
    s.decides(call.approval_id(), true, call.action_hash())
        .then({"policy.decided", "tool.call.requested", "tools.awaited"});
    EXPECT_EQ(s.call(0).decision_id(), s.event(0).policy_decided().decision().decision_id())
        << "the one under which it was handed out";
  }
}

// Of an approved turn later calls too are judged by what it was approved under.
TEST(SessionTools, CallsOfAnApprovedTurnAreJudgedUnderTheTermsOfItsApproval) {
  Talk s({}, {}, true);
  const auto turn = s.turn();
  s.decides(turn.approval_id(), true, turn.action_hash(),
            "settings { deployment_mode: 'test' } constitution { hash: 'd' rules { "
            "prohibited_actions: 'look' } }")
      .then({"policy.decided", "approval.granted", "budget.requested"});
  s.granted().recalled();
  s.asks({{"look", "{}"}})
      .then({"model.answered", "policy.decided", "tool.call.denied", "tools.settled",
             "budget.requested"});
}

TEST(SessionTools, AnApprovalOfAnotherActionOrARejectionIsADenial) {
  for (const bool yes : {true, false}) {
    Talk s;
    s.granted().recalled();
    s.asks({{"pay", "{}"}});
    const auto call = s.call(0);
    s.decides(call.approval_id(), yes, yes ? "another" : call.action_hash())
        .then({"tool.call.denied", "tools.settled", "budget.requested"});
    EXPECT_EQ(s.call(0).denial().code(), "approval_rejected");
    s.result(call.call_id(), "paid").refused(Code::kConflict);
  }
}

TEST(SessionTools, ResultsThatNeverComeEndTheTurn) {
  Talk s("metadata { key: 'tool_seconds' value: '2' }");
  s.granted().recalled();
  s.asks({{"look", "{}"}});
  ASSERT_EQ(s.effects().size(), 1u);
  EXPECT_EQ(s.effects()[0].kind, "timer");
  EXPECT_EQ(s.effects()[0].not_before_ms, 3000);
  const std::string timer = s.effects()[0].effect_id, id = s.call(0).call_id();
  s.when("effect_outcome { effect_id: 'tools:1:9' attempt: 1 result: '' }").then({});
  s.when("effect_outcome { effect_id: '" + timer + "' attempt: 1 result: '' }")
      .then({"turn.failed", "session.failed"});
  EXPECT_EQ(s.state().error().code(), "tool_timeout");
  EXPECT_TRUE(s.effects().empty());
  EXPECT_EQ(s.call(0).status(), v1::CALL_ABANDONED);
  s.result(id, "late").refused(Code::kConflict);
}

TEST(SessionTools, CancelledWhileCallsWait) {
  Talk s;
  s.granted().recalled();
  s.asks({{"look", "{}"}, {"pay", "{}"}});
  const auto look = s.call(0), pay = s.call(1);
  s.when("cancel_session {}").then({"session.cancelled"});
  v1::ApprovalsCommand c;
  ASSERT_TRUE(c.ParseFromString(s.sends().back().command));
  EXPECT_EQ(c.withdraw_approval().approval_id(), pay.approval_id());
  s.result(look.call_id(), "late").refused(Code::kConflict);
  s.decides(pay.approval_id(), true, pay.action_hash()).then({});
  EXPECT_EQ(s.state().status(), v1::CANCELLED);
}

TEST(SessionTools, AForkTakenWhileCallsWaitWaitsForNothing) {
  Talk s;
  v1::SessionCommand c;
  const auto keep = [&] {
    for (const auto& e : s.events()) *c.mutable_fork_session()->add_events() = e;
  };
  keep();
  s.granted();
  keep();
  s.recalled();
  keep();
  s.asks({{"look", "{}"}, {"pay", "{}"}});
  keep();
  c.mutable_fork_session()->set_origin_session_id("s1");
  c.mutable_fork_session()->set_at_sequence(
      static_cast<std::uint64_t>(c.fork_session().events_size()));
  Given<SessionDecider> fork({"demo", "session", "s2", {}});
  fork.when(c);
  EXPECT_EQ(fork.state().status(), v1::FAILED);
  EXPECT_TRUE(fork.effects().empty());
  const auto& calls = fork.state().turns(0).tool_rounds(0).calls();
  EXPECT_EQ(calls.at(0).status(), v1::CALL_ABANDONED);
  EXPECT_EQ(calls.at(1).status(), v1::CALL_ABANDONED);
  fork.when("submit_tool_result { call_id: '" + calls.at(0).call_id() + "' output: 'x' }")
      .refused(Code::kConflict);
}

TEST(SessionTools, RoundsAndBytesAreBounded) {
  Talk s;
  s.granted().recalled();
  for (int round = 0; round < kMaxToolRounds; ++round) {
    s.asks({{"look", "{}"}});
    EXPECT_EQ(s.state().status(), v1::WAITING_TOOLS);
    s.result(s.call(0).call_id(), "more").granted();
  }
  s.asks({{"look", "{}"}}).then({"model.answered", "turn.failed", "session.failed"});
  EXPECT_EQ(s.state().error().code(), "tool_rounds_exceeded");

  Talk big;
  big.granted().recalled();
  const std::string large = "{\"x\": \"" + std::string(kMaxArgumentBytes, 'x') + "\"}";
  std::vector<std::pair<std::string, std::string>> many(kMaxCallsPerRound + 1, {"look", "{}"});
  many[0].second = large;
  big.asks(many);
  EXPECT_EQ(big.call(0).denial().code(), "arguments_too_large");
  EXPECT_TRUE(big.call(0).arguments().empty());
  EXPECT_EQ(big.call(kMaxCallsPerRound - 1).status(), v1::CALL_REQUESTED);
  EXPECT_EQ(big.call(kMaxCallsPerRound).denial().code(), "too_many_calls");
  const std::string full(kMaxResultBytes, 'y');
  big.result(big.call(1).call_id(), full + "y").refused(Code::kInvalidArgument, "body.output");
  big.result(big.call(1).call_id(), full).then({"tool.call.answered"});
  big.result(big.call(2).call_id(), full).refused(Code::kInvalidArgument, "body.output");
}

// What does not fit into an entry is refused by the host, and nobody would go on.
TEST(SessionTools, WhateverTheModelAsksForFitsIntoAnEntry) {
  std::string rules;  // 256 KiB that all speak, with long names and reasons
  for (int i = 0; rules.size() < 250 * 1024; ++i)
    rules += "@id(\"" + std::string(200, 'r') + std::to_string(i) + "\")\n@reason(\"" +
             std::string(3000, 'b') +
             "\")\nforbid(principal, action == Action::\"nuke\", resource);\n";
  Talk s({}, rules);
  s.granted().recalled();
  const auto size = [&] {
    std::size_t bytes = 0;
    for (const auto& e : s.events()) bytes += e.ByteSizeLong();
    for (const auto& send : s.sends()) bytes += send.command.size();
    return bytes;
  };
  const std::string large = std::string(1900, 'x');
  for (int round = 0; round < kMaxToolRounds; ++round) {
    std::vector<std::pair<std::string, std::string>> calls;
    for (int i = 0; i < 32; ++i) calls.emplace_back(round % 2 ? "nuke" : large, large);
    calls[0] = {"look", "{}"};
    s.asks(calls);
    EXPECT_LT(size(), 450u * 1024);
    const std::size_t left = kMaxTurnToolBytes - std::min(kMaxTurnToolBytes, tool_bytes(s.turn()));
    s.result(s.call(0).call_id(), std::string(std::min(left, kMaxResultBytes), 'y'));
    s.granted();
    ASSERT_EQ(s.turn().stage(), v1::CALLING);
    EXPECT_LT(s.request().ByteSizeLong(), 320u * 1024) << "twice in the pool's entry";
  }
}

TEST(SessionTools, DefinitionsAreChecked) {
  const auto refused = [](const std::string& tools, const std::string& field) {
    Given<SessionDecider> s(kSession);
    s.when("start_session { prompt: 'x' constitution { hash: 'c' } tools { " + tools + " } }")
        .refused(Code::kInvalidArgument, field);
  };
  refused("tools { tool { name: 'a b' } }", "body.tools.0.function.name");
  refused("tools { tool { name: 'a' } } tools { tool { name: 'a' } }",
          "body.tools.1.function.name");
  refused("tools { tool { name: 'a' parameters_json: '[]' } }", "body.tools.0.function.parameters");
  refused("tools { tool { name: 'a' } risk_score: nan }", "body.tools.0.risk_score");
}

TEST(SessionTools, WithoutToolsCallsInAnAnswerAreNothing) {
  Given<SessionDecider> s(kSession);
  s.when(
      "start_session { prompt: 'x' settings { deployment_mode: 'test' budgets_tokens: 5000 } "
      "policy { risk_score: 0.1 confidence: 0.9 } constitution { hash: 'c' } }");
  s.when("budget_granted { reservation_id: '" + s.state().turns(0).reservation_id() + "' }");
  s.when("effect_outcome { effect_id: '" + s.effects().at(0).effect_id +
         "' attempt: 1 result: '' }");
  s.when("call_succeeded { answer { call_id: '" + s.state().turns(0).call_id() +
         "' output: 'hi' tool_calls { name: 'rm' arguments: '{}' } } }")
      .then({"model.answered", "turn.completed", "session.completed"});
}

std::string held(const Talk& s, const std::string& terms) {
  return "call_held { call_id: '" + s.turn().call_id() +
         "' attempt: 1 terms { settings { deployment_mode: 'test' version: 3 } " + terms + " } }";
}

// A call whose turn was edited and then judged again before it was sent.
TEST(SessionTools, WhoEditedATurnNeitherApprovesItsCallsNorLendsItRights) {
  Talk s({}, {}, true);
  s.by("bob").when("edit_turn { approval_id: '" + s.turn().approval_id() +
                   "' content: 'hello there' settings { deployment_mode: 'test' } constitution { "
                   "hash: 'c' } }");
  s.by("ana");
  s.decides(s.turn().approval_id(), true, s.turn().action_hash()).granted().recalled();
  s.when(held(s,
              "constitution { hash: 'd' } asker { subject: 'bob' tenant: 'demo' capabilities: "
              "'*' }"))
      .then({"policy.decided", "turn.judged_again", "budget.requested"});
  s.granted().recalled().asks({{"pay", "{}"}});
  const auto decision = s.event(1).policy_decided().decision();
  EXPECT_EQ(decision.asker().subject(), "ana") << "whose tools they are";
  EXPECT_EQ(decision.asker().capabilities_size(), 0);
  v1::ApprovalsCommand ask;
  ASSERT_TRUE(ask.ParseFromString(s.sends().back().command));
  EXPECT_EQ(ask.request_approval().approval().requested_by(), "ana") << "who may not approve it";
  const auto call = s.call(0);
  s.when("approval_decided { approval_id: '" + call.approval_id() +
         "' approved: true decided_by: 'bob' action_hash: '" + call.action_hash() +
         "' terms { settings { deployment_mode: 'test' } constitution { hash: 'd' } } }");
  s.then({});
  ASSERT_EQ(s.sends().size(), 1u);
  ASSERT_TRUE(ask.ParseFromString(s.sends()[0].command));
  EXPECT_EQ(ask.approval_failed().approval_id(), call.approval_id());
  EXPECT_EQ(ask.approval_failed().failure().code(), "approval_by_requester");
  s.decides(call.approval_id(), true, call.action_hash())
      .then({"policy.decided", "tool.call.requested", "tools.awaited"});
}

TEST(SessionTools, WhatTheAskerMayDoNowHoldsForTheCalls) {
  Talk s;
  s.granted().recalled();
  s.when(held(s,
              "constitution { hash: 'd' } asker { subject: 'ana' tenant: 'demo' capabilities: "
              "'session:*' }"));
  s.granted().recalled().asks({{"look", "{}"}});
  EXPECT_EQ(s.event(1).policy_decided().decision().asker().capabilities(0), "session:*");
}

TEST(SessionTools, ATurnThatWaitsForAPersonInALaterRoundKeepsWhatItRecalledAndItsPrompt) {
  Talk s;
  s.granted();
  v1::RecallResult recall;
  recall.add_memories()->set_memory_id("m");
  recall.mutable_memories(0)->set_text("the house is blue");
  recall.mutable_memories(0)->set_score(1);
  v1::SessionCommand c;
  c.mutable_effect_outcome()->set_effect_id(s.effects().at(0).effect_id);
  c.mutable_effect_outcome()->set_attempt(1);
  c.mutable_effect_outcome()->set_result(recall.SerializeAsString());
  s.when(c);
  s.asks({{"look", "{}"}});
  s.result(s.call(0).call_id(), "seen").granted();
  const std::string person =
      "constitution { hash: 'd' rules { human_approval_above_risk: 0.05 } } asker { subject: 'ana' "
      "tenant: 'demo' }";
  s.when(held(s, person)).then({"policy.decided", "turn.judged_again", "approval.requested"});
  const std::string approval = s.turn().approval_id(), hash = s.turn().action_hash();
  const std::string terms = "settings { deployment_mode: 'test' } " + person;
  s.decides(approval, true, hash, terms + " halted: true")
      .then({"policy.decided", "turn.reopened"});
  s.by("bob").when("edit_turn { approval_id: '" + approval +
                   "' content: 'another prompt' settings { deployment_mode: 'test' } constitution "
                   "{ hash: 'd' } }");
  s.refused(Code::kConflict);
  s.by("ana");
  s.decides(approval, true, hash, terms).granted();
  std::string said;
  const auto request = s.request();
  for (const auto& m : request.messages()) said += m.content() + "\n";
  EXPECT_NE(said.find("the house is blue"), std::string::npos) << said;
  EXPECT_NE(said.find("seen"), std::string::npos) << said;
}

}  // namespace
}  // namespace soma::actors
