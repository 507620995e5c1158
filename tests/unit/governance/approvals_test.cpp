// The register of approvals, and a session's turn that waits for one: given / when / then.
#include "actors/approvals/approvals.h"

#include <gtest/gtest.h>

#include "actors/actor_type.h"
#include "actors/session/session.h"

namespace soma::actors {
namespace {

v1::Context by(const std::string& subject, std::int64_t now_ms) {
  v1::Context c;
  c.set_now_ms(now_ms);
  c.set_command_id("acme:" + subject + std::to_string(now_ms));
  c.mutable_principal()->set_subject(subject);
  return c;
}

template <typename Decider>
struct Actor {
  ActorKey self;
  typename Decider::State state;
  Result<typename Decider::Decided> when(const typename Decider::Command& command,
                                         const std::string& subject, std::int64_t now_ms) {
    auto d = Decider::decide(self, state, command, by(subject, now_ms));
    if (d)
      for (const auto& e : d->events) Decider::evolve(state, e);
    return d;
  }
};

v1::ApprovalsCommand request(const std::string& id) {
  v1::ApprovalsCommand c;
  auto* a = c.mutable_request_approval()->mutable_approval();
  a->set_approval_id(id);
  a->set_action("session.turn");
  a->set_action_hash("hash");
  a->set_requested_by("ada");
  a->set_expires_ms(1000);
  a->mutable_requester()->set_tenant("acme");
  a->mutable_requester()->set_type("session");
  a->mutable_requester()->set_id("s1");
  return c;
}

v1::ApprovalsCommand decide(const std::string& id, bool approve) {
  v1::ApprovalsCommand c;
  c.mutable_decide_approval()->set_approval_id(id);
  c.mutable_decide_approval()->set_approve(approve);
  return c;
}

TEST(Approvals, AnotherPersonDecidesOnce) {
  Actor<ApprovalsDecider> register_{approvals_key("acme"), {}};
  ASSERT_TRUE(register_.when(request("a"), "ada", 1));
  EXPECT_EQ(register_.when(decide("a", true), "ada", 2).error().code, Code::kForbidden);
  EXPECT_EQ(register_.when(decide("b", true), "bob", 2).error().code, Code::kNotFound);
  auto yes = decide("a", true);
  yes.mutable_decide_approval()->mutable_terms()->set_halted(true);
  auto approved = register_.when(yes, "bob", 3);
  ASSERT_TRUE(approved);
  ASSERT_EQ(approved->sends.size(), 1u);
  v1::SessionCommand told;
  ASSERT_TRUE(told.ParseFromString(approved->sends[0].command));
  EXPECT_TRUE(told.approval_decided().approved());
  EXPECT_EQ(told.approval_decided().action_hash(), "hash");
  EXPECT_TRUE(told.approval_decided().terms().halted()) << "what it is to be judged by goes on";
  EXPECT_EQ(register_.when(decide("a", false), "eve", 4).error().code, Code::kConflict);
  EXPECT_TRUE(ApprovalsDecider::effects(register_.self, register_.state).empty());
}

TEST(Approvals, ExpiresAndTellsWhoAsked) {
  Actor<ApprovalsDecider> register_{approvals_key("acme"), {}};
  ASSERT_TRUE(register_.when(request("a"), "ada", 1));
  const auto timers = ApprovalsDecider::effects(register_.self, register_.state);
  ASSERT_EQ(timers.size(), 1u);
  EXPECT_EQ(timers[0].not_before_ms, 1000);
  EXPECT_EQ(register_.when(decide("a", true), "bob", 1000).error().code, Code::kConflict);
  v1::ApprovalsCommand fired;
  fired.mutable_effect_outcome()->set_effect_id(timers[0].effect_id);
  auto expired = register_.when(fired, "soma", 1001);
  ASSERT_TRUE(expired);
  EXPECT_EQ(expired->sends.size(), 1u);
  EXPECT_EQ(register_.state.approvals().at("a").status(), v1::EXPIRED);
  EXPECT_TRUE(register_.when(fired, "soma", 1002)->events.empty());
}

TEST(Approvals, WhatCannotStartIsPendingAgainWithTheError) {
  Actor<ApprovalsDecider> register_{approvals_key("acme"), {}};
  ASSERT_TRUE(register_.when(request("a"), "ada", 1));
  ASSERT_TRUE(register_.when(decide("a", true), "bob", 2));
  v1::ApprovalsCommand failed;
  failed.mutable_approval_failed()->set_approval_id("a");
  failed.mutable_approval_failed()->mutable_failure()->set_code("unavailable");
  ASSERT_TRUE(register_.when(failed, "soma", 3));
  EXPECT_EQ(register_.state.approvals().at("a").status(), v1::PENDING);
  EXPECT_EQ(register_.state.approvals().at("a").error().code(), "unavailable");
  EXPECT_TRUE(register_.when(decide("a", true), "bob", 4));
}

TEST(Approvals, WhatIsNoLongerKeptIsDecidedAgainstSoThatNobodyWaitsForEver) {
  Actor<ApprovalsDecider> register_{approvals_key("acme"), {}};
  v1::ApprovalsCommand failed;
  failed.mutable_approval_failed()->set_approval_id("long ago");
  failed.mutable_approval_failed()->set_action_hash("hash");
  failed.mutable_approval_failed()->mutable_requester()->set_type("session");
  const auto answered = register_.when(failed, "soma", 3);
  ASSERT_TRUE(answered);
  ASSERT_EQ(answered->sends.size(), 1u);
  v1::SessionCommand told;
  ASSERT_TRUE(told.ParseFromString(answered->sends[0].command));
  EXPECT_FALSE(told.approval_decided().approved());
}

v1::ApprovalsCommand delegate(const std::string& id, const std::string& to) {
  v1::ApprovalsCommand c;
  c.mutable_delegate_approval()->set_approval_id(id);
  c.mutable_delegate_approval()->set_to(to);
  return c;
}

TEST(Approvals, ADelegateAloneDecides) {
  Actor<ApprovalsDecider> register_{approvals_key("acme"), {}};
  ASSERT_TRUE(register_.when(request("a"), "ada", 1));
  EXPECT_EQ(register_.when(delegate("a", "bob"), "ada", 2).error().code, Code::kForbidden)
      << "who asked does not choose the judge";
  EXPECT_EQ(register_.when(delegate("a", "ada"), "bob", 2).error().field, "body.to");
  EXPECT_EQ(register_.when(delegate("a", ""), "bob", 2).error().field, "body.to");
  EXPECT_EQ(register_.when(delegate("z", "eve"), "bob", 2).error().code, Code::kNotFound);
  EXPECT_EQ(register_.when(delegate("a", "svc:ci"), "bob", 2).error().field, "body.to");
  ASSERT_EQ(register_.when(delegate("a", "carol"), "bob", 2)->events.size(), 2u);
  EXPECT_TRUE(register_.when(delegate("a", "carol"), "bob", 3)->events.empty()) << "the same again";
  EXPECT_EQ(register_.when(decide("a", true), "bob", 3).error().code, Code::kForbidden);
  EXPECT_EQ(register_.when(delegate("a", "eve"), "dan", 3).error().code, Code::kForbidden);
  ASSERT_TRUE(register_.when(delegate("a", "dan"), "carol", 4)) << "passed on";
  ASSERT_TRUE(register_.when(delegate("a", "carol"), "carol", 5)) << "and taken back";
  const auto approved = register_.when(decide("a", true), "carol", 6);
  ASSERT_TRUE(approved) << approved.error().message;
  EXPECT_EQ(register_.state.approvals().at("a").decided_by(), "carol");
  EXPECT_EQ(register_.when(delegate("a", "eve"), "carol", 7).error().code, Code::kConflict);
}

TEST(Approvals, AServiceIsNoPerson) {
  Actor<ApprovalsDecider> register_{approvals_key("acme"), {}};
  ASSERT_TRUE(register_.when(request("a"), "ada", 1));
  EXPECT_EQ(register_.when(decide("a", true), "svc:ci", 2).error().code, Code::kForbidden);
  EXPECT_EQ(register_.when(decide("a", false), "svc:ci", 2).error().code, Code::kForbidden);
  EXPECT_EQ(register_.when(delegate("a", "bob"), "svc:ci", 2).error().code, Code::kForbidden);
  EXPECT_TRUE(register_.when(decide("a", true), "bob", 3));
}

// Who should look is told when it is parked, handed on, or could not start.
TEST(Approvals, PeopleAreNotified) {
  Actor<ApprovalsDecider> register_{approvals_key("acme"), {}};
  const auto told = [](const Result<ApprovalsDecider::Decided>& d) {
    v1::ReviewNotified out;
    if (d)
      for (const auto& e : d->events)
        if (e.has_notified()) out = e.notified();
    return out;
  };
  auto ask = request("a");
  ask.mutable_request_approval()->mutable_approval()->set_summary("pay the bill");
  ask.mutable_request_approval()->mutable_approval()->set_session_id("s1");
  const auto parked = told(register_.when(ask, "ada", 1));
  EXPECT_EQ(parked.type(), "review");
  EXPECT_EQ(parked.severity(), "warning");
  EXPECT_EQ(parked.title(), "session.turn waits for approval");
  EXPECT_EQ(parked.message(), "pay the bill");
  EXPECT_EQ(parked.metadata().at("approval_id"), "a");
  EXPECT_EQ(parked.metadata().at("session_id"), "s1");
  EXPECT_EQ(parked.user_id(), "");
  EXPECT_TRUE(told(register_.when(ask, "ada", 1)).type().empty()) << "asked for again: told once";
  EXPECT_EQ(told(register_.when(delegate("a", "carol"), "bob", 2)).user_id(), "carol");
  ASSERT_TRUE(register_.when(decide("a", true), "carol", 3));
  v1::ApprovalsCommand failed;
  failed.mutable_approval_failed()->set_approval_id("a");
  failed.mutable_approval_failed()->mutable_failure()->set_code("policy_denied");
  const auto again = told(register_.when(failed, "soma", 4));
  EXPECT_EQ(again.severity(), "error");
  EXPECT_NE(again.title().find("policy_denied"), std::string::npos);
  EXPECT_EQ(again.user_id(), "carol") << "who alone may decide";
  EXPECT_NE(again.notification_id(), parked.notification_id());
}

class WaitingTurn : public testing::Test {
 protected:
  void SetUp() override {
    v1::SessionCommand c;
    auto* start = c.mutable_start_session();
    start->set_prompt("pay the bill");
    start->set_user("ada");
    start->mutable_settings()->set_deployment_mode("test");
    start->mutable_constitution()->set_hash("abc");
    start->mutable_policy()->set_risk_score(0.1);
    start->mutable_policy()->set_confidence(0.9);
    start->mutable_policy()->set_requires_human(true);
    started = session.when(c, "ada", 1);
    ASSERT_TRUE(started) << started.error().message;
  }
  v1::SessionCommand decided(bool approved, const std::string& hash) {
    v1::SessionCommand c;
    auto* d = c.mutable_approval_decided();
    d->set_approval_id(session.state.turns(0).approval_id());
    d->set_approved(approved);
    d->set_decided_by("bob");
    d->set_action_hash(hash);
    *d->mutable_terms() = terms();
    return c;
  }
  // As they were when the turn was asked for, unless a test says otherwise.
  static v1::StartTerms terms() {
    v1::StartTerms t;
    t.mutable_settings()->set_deployment_mode("test");
    t.mutable_constitution()->set_hash("abc");
    return t;
  }
  Result<SessionDecider::Decided> approved_under(const v1::StartTerms& t, std::int64_t now_ms) {
    auto c = decided(true, hash());
    *c.mutable_approval_decided()->mutable_terms() = t;
    return session.when(c, "bob", now_ms);
  }
  std::string hash() const { return session.state.turns(0).action_hash(); }
  Actor<SessionDecider> session{{"acme", "session", "s1", {}}, {}};
  Result<SessionDecider::Decided> started;
};

TEST_F(WaitingTurn, ParksAndGoesOnAfterApproval) {
  EXPECT_EQ(session.state.status(), v1::WAITING_APPROVAL);
  ASSERT_EQ(started->sends.size(), 1u);
  EXPECT_EQ(started->sends[0].to.type, "approvals");
  auto approved = session.when(decided(true, hash()), "bob", 2);
  ASSERT_TRUE(approved);
  ASSERT_EQ(approved->sends.size(), 1u);
  EXPECT_EQ(approved->sends[0].to.type, "tenant") << "the budget is asked for now";
  EXPECT_EQ(session.state.turns(0).stage(), v1::RESERVING);
  EXPECT_EQ(session.state.turns(0).approved_by(), "bob");
  EXPECT_TRUE(session.when(decided(true, hash()), "bob", 3)->events.empty()) << "once";
}

TEST_F(WaitingTurn, ARejectionOrAnApprovalOfSomethingElseEndsIt) {
  auto copy = session;
  ASSERT_TRUE(copy.when(decided(false, hash()), "bob", 2));
  EXPECT_EQ(copy.state.status(), v1::FAILED);
  EXPECT_EQ(copy.state.error().code(), "approval_rejected");
  ASSERT_TRUE(session.when(decided(true, "of another action"), "bob", 2));
  EXPECT_EQ(session.state.status(), v1::FAILED);
}

// What is in force when it starts decides, not what was when it was asked for.
TEST_F(WaitingTurn, IsJudgedAgainWhenItIsApprovedAndWaitsWhereItIsNotAllowedAnyMore) {
  const std::string approval = session.state.turns(0).approval_id(), exact = hash();
  auto prohibited = terms();
  prohibited.mutable_constitution()->set_hash("stricter");
  prohibited.mutable_constitution()->mutable_rules()->set_maximum_risk(0.05);
  auto ruled = terms();
  ruled.mutable_rules()->set_number(2);
  ruled.mutable_rules()->set_hash("r");
  ruled.mutable_rules()->set_text(
      "@id(\"not-ada\") forbid(principal == User::\"ada\", action, resource);");
  auto stricter = terms();
  stricter.mutable_settings()->mutable_policy()->set_threshold(0.99);
  auto halted = terms();
  halted.set_halted(true);
  struct Case {
    v1::StartTerms terms;
    const char *code, *reason;
  };
  std::int64_t now_ms = 2;
  for (const auto& c :
       {Case{prohibited, "policy_denied", "risk_above_maximum"},
        Case{ruled, "policy_denied", "rule:not-ada"}, Case{stricter, "policy_denied", ""},
        Case{halted, "kill_switch_active", ""}, Case{{}, "policy_error", ""}}) {
    const auto d = approved_under(c.terms, ++now_ms);
    ASSERT_TRUE(d) << d.error().message;
    const auto& turn = session.state.turns(0);
    EXPECT_EQ(session.state.status(), v1::WAITING_APPROVAL) << c.code;
    EXPECT_EQ(turn.stage(), v1::AWAITING_APPROVAL);
    EXPECT_EQ(turn.approval_id(), approval);
    EXPECT_EQ(hash(), exact) << "the action is the same";
    EXPECT_EQ(turn.error().code(), c.code);
    EXPECT_EQ(turn.approved_by(), "");
    EXPECT_NE((turn.error().message() + c.reason).find(c.reason), std::string::npos)
        << turn.error().message();
    ASSERT_EQ(d->sends.size(), 1u) << "no budget is asked for";
    v1::ApprovalsCommand told;
    ASSERT_TRUE(told.ParseFromString(d->sends[0].command));
    EXPECT_EQ(told.approval_failed().failure().code(), c.code);
    EXPECT_EQ(told.approval_failed().action_hash(), exact);
  }
  auto newer = terms();
  newer.mutable_constitution()->set_hash("newer");
  const auto d = approved_under(newer, ++now_ms);
  ASSERT_TRUE(d);
  ASSERT_EQ(d->events.size(), 3u);
  EXPECT_EQ(SessionDecider::event_type(d->events[0]), "policy.decided");
  EXPECT_EQ(d->events[0].policy_decided().decision().constitution_hash(), "newer");
  EXPECT_EQ(d->events[0].policy_decided().decision().asker().subject(), "ada")
      << "in the name of who asked";
  EXPECT_EQ(session.state.constitution_hash(), "newer")
      << "it runs under what it was approved under";
  EXPECT_EQ(session.state.turns(0).stage(), v1::RESERVING);
}

// The approved turn up to its model call, and the call dead before it began.
class UnstartedTurn : public WaitingTurn {
 protected:
  void SetUp() override {
    WaitingTurn::SetUp();
    run_to_call(2);
  }
  const v1::Turn& turn() const { return session.state.turns(0); }
  void run_to_call(std::int64_t now_ms) {
    ASSERT_TRUE(session.when(decided(true, hash()), "bob", now_ms));
    v1::SessionCommand granted;
    granted.mutable_budget_granted()->set_reservation_id(turn().reservation_id());
    ASSERT_TRUE(session.when(granted, "soma", now_ms));
    v1::SessionCommand recalled;
    recalled.mutable_effect_outcome()->set_effect_id("recall:" + turn().reservation_id());
    recalled.mutable_effect_outcome()->set_attempt(1);
    recalled.mutable_effect_outcome()->set_result("");
    const auto asked = session.when(recalled, "soma", now_ms);
    ASSERT_TRUE(asked);
    v1::ModelCommand call;
    ASSERT_TRUE(call.ParseFromString(asked->sends.at(0).command));
    EXPECT_TRUE(call.request_call().request().report_unstarted());
  }
  Result<SessionDecider::Decided> dead(bool not_started, std::int64_t now_ms) {
    v1::SessionCommand c;
    c.mutable_call_died()->set_call_id(turn().call_id());
    c.mutable_call_died()->mutable_failure()->set_code("model_unavailable");
    c.mutable_call_died()->set_not_started(not_started);
    return session.when(c, "soma", now_ms);
  }
};

TEST_F(UnstartedTurn, WaitsAgainUnderTheSameApprovalAndRunsWhenApprovedAgain) {
  const std::string approval = turn().approval_id(), first_call = turn().call_id();
  const auto reopened = dead(true, 3);
  ASSERT_TRUE(reopened);
  ASSERT_EQ(reopened->events.size(), 1u);
  EXPECT_EQ(SessionDecider::event_type(reopened->events[0]), "turn.reopened");
  EXPECT_EQ(session.state.status(), v1::WAITING_APPROVAL);
  EXPECT_EQ(turn().stage(), v1::AWAITING_APPROVAL);
  EXPECT_EQ(turn().approval_id(), approval);
  EXPECT_EQ(turn().error().code(), "model_unavailable");
  EXPECT_EQ(turn().approved_by(), "");
  ASSERT_EQ(reopened->sends.size(), 2u);
  EXPECT_EQ(reopened->sends[0].to.type, "tenant") << "the budget goes back";
  v1::ApprovalsCommand told;
  ASSERT_TRUE(told.ParseFromString(reopened->sends[1].command));
  EXPECT_EQ(told.approval_failed().approval_id(), approval);
  EXPECT_TRUE(dead(true, 3)->events.empty()) << "once";
  run_to_call(4);
  EXPECT_NE(turn().call_id(), first_call);
  EXPECT_FALSE(turn().has_error());
}

TEST_F(UnstartedTurn, WhatHadBegunFails) {
  ASSERT_TRUE(dead(false, 3));
  EXPECT_EQ(session.state.status(), v1::FAILED);
}

class EditedTurn : public WaitingTurn {
 protected:
  Result<SessionDecider::Decided> edit(const std::string& content, const std::string& who,
                                       const std::string& approval, double maximum_risk = 1) {
    v1::SessionCommand c;
    c.mutable_edit_turn()->set_approval_id(approval);
    c.mutable_edit_turn()->set_content(content);
    c.mutable_edit_turn()->mutable_settings()->set_deployment_mode("test");
    c.mutable_edit_turn()->mutable_constitution()->set_hash("newer");
    c.mutable_edit_turn()->mutable_constitution()->mutable_rules()->set_maximum_risk(maximum_risk);
    return session.when(c, who, 2);
  }
  std::string approval() const { return session.state.turns(0).approval_id(); }
};

TEST_F(EditedTurn, IsANewActionThatItsEditorMayNotApprove) {
  const std::string old = approval(), old_hash = hash();
  EXPECT_EQ(edit("", "bob", old).error().field, "body.content");
  EXPECT_EQ(edit("pay the bill", "bob", old).error().code, Code::kInvalidArgument);
  EXPECT_EQ(edit("x", "bob", "another").error().code, Code::kConflict);
  const auto edited = edit("pay half the bill", "bob", old);
  ASSERT_TRUE(edited) << edited.error().message;
  EXPECT_EQ(session.state.status(), v1::WAITING_APPROVAL);
  EXPECT_EQ(session.state.turns(0).prompt(), "pay half the bill");
  EXPECT_EQ(session.state.turns(0).edited_by(), "bob");
  EXPECT_EQ(session.state.turns(0).requested_by(), "ada") << "whose budget it is";
  EXPECT_EQ(session.state.constitution_hash(), "newer");
  EXPECT_NE(approval(), old);
  EXPECT_NE(hash(), old_hash);
  // The register's part, as it would be told.
  Actor<ApprovalsDecider> register_{approvals_key("acme"), {}};
  v1::ApprovalsCommand first;
  ASSERT_TRUE(first.ParseFromString(started->sends.at(0).command));
  ASSERT_TRUE(register_.when(first, "ada", 1));
  ASSERT_EQ(edited->sends.size(), 2u);
  for (const auto& send : edited->sends) {
    v1::ApprovalsCommand told;
    ASSERT_TRUE(told.ParseFromString(send.command));
    ASSERT_TRUE(register_.when(told, "soma", 2));
  }
  const auto& kept = register_.state.approvals();
  EXPECT_EQ(kept.at(old).status(), v1::EXPIRED);
  EXPECT_EQ(kept.at(old).replaced_by(), approval());
  EXPECT_EQ(kept.at(approval()).replaces(), old);
  EXPECT_EQ(kept.at(approval()).requested_by(), "bob");
  EXPECT_EQ(register_.when(decide(old, true), "eve", 3).error().code, Code::kConflict);
  EXPECT_EQ(register_.when(decide(approval(), true), "bob", 3).error().code, Code::kForbidden);
  EXPECT_TRUE(register_.when(decide(approval(), true), "ada", 3)) << "two people, one text";
  // An approval of the text before does nothing any more.
  auto late = decided(true, old_hash);
  late.mutable_approval_decided()->set_approval_id(old);
  EXPECT_TRUE(session.when(late, "eve", 4)->events.empty());
}

TEST_F(EditedTurn, IsJudgedAnew) {
  const auto edited = edit("pay twice", "bob", approval(), 0.01);
  ASSERT_TRUE(edited) << edited.error().message;
  EXPECT_EQ(session.state.status(), v1::FAILED);
  EXPECT_EQ(session.state.error().code(), "policy_denied");
}

TEST_F(WaitingTurn, CancellingWithdrawsTheRequest) {
  v1::SessionCommand cancel;
  cancel.mutable_cancel_session();
  auto cancelled = session.when(cancel, "ada", 2);
  ASSERT_TRUE(cancelled);
  ASSERT_EQ(cancelled->sends.size(), 1u);
  EXPECT_EQ(cancelled->sends[0].to.type, "approvals");
  EXPECT_TRUE(session.when(decided(true, hash()), "bob", 3)->events.empty());
}

}  // namespace
}  // namespace soma::actors
