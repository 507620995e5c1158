// A fork: the origin's history under the same numbers, and a life of its own.
#include "actors/session/session.h"
#include "tests/unit/actors/given.h"

namespace soma::actors {
namespace {

using Session = Given<SessionDecider>;
const ActorKey kFork{"demo", "session", "s2", {}};

const std::vector<std::string> kHistory = {
    "session_started { session_id: 's1' tenant_id: 'demo' user: 'ana' at_ms: 1 }",
    "turn_started { turn: 1 prompt: 'hello' at_ms: 1 }",
    "policy_decided { turn: 1 decision { decision_id: 'd' allow: true } }",
    "budget_requested { turn: 1 reservation_id: 'r' tokens: 5 }",
    "budget_reserved { turn: 1 tokens: 5 }",
    "memory_recalled { turn: 1 }",
    "model_requested { turn: 1 call_id: 'c' }",
    "model_answered { turn: 1 answer { output: 'hi' } }",
    "turn_completed { turn: 1 at_ms: 2 }",
    "session_completed { at_ms: 2 }"};

v1::SessionCommand fork_at(std::size_t at) {
  v1::SessionCommand c;
  c.mutable_fork_session()->set_origin_session_id("s1");
  c.mutable_fork_session()->set_at_sequence(at);
  for (std::size_t i = 0; i < at && i < kHistory.size(); ++i)
    *c.mutable_fork_session()->add_events() = message<v1::SessionEvent>(kHistory[i]);
  return c;
}

TEST(SessionFork, KeepsTheHistoryAndGoesOn) {
  Session s(kFork);
  s.when(fork_at(10));
  EXPECT_EQ(s.reply().status(), v1::COMPLETED);
  EXPECT_EQ(s.state().session_id(), "s2");
  EXPECT_EQ(s.state().forked_from(), "s1");
  EXPECT_EQ(s.state().forked_at(), 10u);
  EXPECT_EQ(s.state().turns(0).answer(), "hi");
  EXPECT_TRUE(s.sends().empty());
  s.when(
       "send_message { content: 'x' settings { deployment_mode: 'test' } constitution { hash: 'c' "
       "} policy { confidence: 1 } "
       "}")
      .then({"session.continued", "turn.started", "policy.decided", "budget.requested"});
  EXPECT_EQ(s.reply().turn(), 2u);
}

// Wherever it is taken: nothing that the origin waits for is waited for, or done again, by the
// fork.
TEST(SessionFork, AnywhereInATurnNothingIsLeftPending) {
  for (std::size_t at = 1; at <= kHistory.size(); ++at) {
    Session s(kFork);
    s.when(fork_at(at));
    EXPECT_TRUE(s.effects().empty()) << at;
    EXPECT_TRUE(s.sends().empty()) << at;
    EXPECT_NE(s.state().status(), v1::RUNNING) << at;
    s.when("budget_granted { reservation_id: 'r' }").then({});
    s.when("call_succeeded { answer { call_id: 'c' output: 'late' } }").then({});
    s.when(
         "send_message { content: 'x' settings { deployment_mode: 'test' } constitution { hash: "
         "'c' } policy { confidence: 1 "
         "} }")
        .then({"session.continued", "turn.started", "policy.decided", "budget.requested"});
  }
}

TEST(SessionFork, OfNothingOrOfAnothersIsRefused) {
  Session(kFork).when(fork_at(0)).refused(Code::kInvalidArgument, "body.at_sequence");
  Session(kFork).when(fork_at(11)).refused(Code::kInvalidArgument, "body.at_sequence");
  Session({"acme", "session", "s2", {}}).when(fork_at(10)).refused(Code::kInvalidArgument);
  Session s(kFork);
  s.when(fork_at(10));
  s.when(fork_at(10)).refused(Code::kConflict);
  auto large = fork_at(2);
  large.mutable_fork_session()->mutable_events(1)->mutable_turn_started()->set_prompt(
      std::string(400 * 1024, 'x'));
  Session(kFork).when(large).refused(Code::kTooLarge);
}

}  // namespace
}  // namespace soma::actors
