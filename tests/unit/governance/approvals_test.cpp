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
  auto approved = register_.when(decide("a", true), "bob", 3);
  ASSERT_TRUE(approved);
  ASSERT_EQ(approved->sends.size(), 1u);
  v1::SessionCommand told;
  ASSERT_TRUE(told.ParseFromString(approved->sends[0].command));
  EXPECT_TRUE(told.approval_decided().approved());
  EXPECT_EQ(told.approval_decided().action_hash(), "hash");
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
    return c;
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
