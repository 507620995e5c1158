// What is in force could not be read when a call was about to be sent: nothing was sent, for no
// fault of the model, and it is tried again until the call's deadline.
#include "actors/inference/inference.h"
#include "actors/model/model.h"
#include "actors/session/session.h"
#include "soma/v1/approval.pb.h"
#include "soma/v1/memory.pb.h"
#include "tests/unit/actors/given.h"

namespace soma::actors {
namespace {

const std::string kUnread = "code: 'terms_unread' message: 'elsewhere' retryable: true";

class Pool : public Given<ModelDecider> {
 public:
  Pool() : Given(pool_key("demo", "", 3)) {}
  Pool& asked(const std::string& more) {
    when(
        "request_call { request { call_id: 'a' caller { tenant: 'demo' type: 'session' id: 's' } " +
        more + " } }");
    return *this;
  }
  Pool& failed(std::uint32_t attempt, const std::string& failure = kUnread) {
    when("effect_outcome { effect_id: 'a' attempt: " + std::to_string(attempt) + " failure { " +
         failure + " } }");
    return *this;
  }
  v1::SessionCommand told() const {
    v1::SessionCommand c;
    EXPECT_TRUE(!sends().empty() && c.ParseFromString(sends().at(0).command));
    return c;
  }
};

TEST(TermsUnread, IsNoFaultOfTheModel) {
  Pool pool;
  pool.asked("fallbacks: 'small' report_unstarted: true deadline_ms: 900000");
  for (std::uint32_t attempt = 1; attempt <= 20; ++attempt)
    pool.failed(attempt).then({"call.started"});  // an approved turn does not end for it
  EXPECT_EQ(pool.state().failed_in_row(), 0u) << "no breaker opens";
  v1::ModelRequest request;
  ASSERT_TRUE(request.ParseFromString(pool.effects().at(0).request));
  EXPECT_EQ(request.model(), "") << "no other model is asked";
  pool.failed(21, "code: 'model_unavailable' retryable: true").then({"call.started"});
  ASSERT_TRUE(request.ParseFromString(pool.effects().at(0).request));
  EXPECT_EQ(request.model(), "small") << "what fails is still followed by the next";
}

TEST(TermsUnread, BacksOffUntilTheDeadlineAndThenSaysThatNothingWasSent) {
  Pool pool;
  pool.asked("deadline_ms: 30000");
  std::int64_t now = 1000;
  for (const std::int64_t wait : {1000, 2000, 4000, 8000, 8000}) {
    const auto attempt = pool.effects().at(0).attempt;
    pool.at(now);
    pool.failed(attempt);
    EXPECT_EQ(pool.effects().at(0).not_before_ms, now + wait);
    now += wait;
  }
  pool.at(now);
  pool.failed(6).then({"call.failed"});
  EXPECT_EQ(pool.told().call_died().failure().code(), "terms_unread");
  EXPECT_TRUE(pool.told().call_died().not_started());
}

TEST(TermsUnread, TakesNoAttemptFromTheModel) {
  Pool pool;
  pool.asked("deadline_ms: 900000");
  for (std::uint32_t attempt = 1; attempt <= 6; ++attempt) pool.failed(attempt);
  const std::string away = "code: 'model_unavailable' retryable: true";
  for (std::uint32_t attempt = 7; attempt <= 9; ++attempt)
    pool.failed(attempt, away).then({"call.started"});
  pool.failed(10, away).then({"call.failed"});
}

TEST(TermsUnread, AnApprovedTurnWaitsAgainOnceItsDeadlineIsOver) {
  Given<SessionDecider> session({"demo", "session", "s1", {}});
  const auto turn = [&]() -> const v1::Turn& { return session.state().turns(0); };
  session.when(
      "start_session { user: 'ana' prompt: 'hello' settings { deployment_mode: 'test' "
      "budgets_tokens: 5000 } policy { action_id: 'session.turn' risk_score: 0.1 confidence: 0.9 "
      "requires_human: true } constitution { hash: 'c' } }");
  session.when("approval_decided { approval_id: '" + turn().approval_id() +
               "' approved: true decided_by: 'ben' action_hash: '" + turn().action_hash() +
               "' terms { settings { deployment_mode: 'test' } constitution { hash: 'c' } } }");
  session.when("budget_granted { reservation_id: '" + turn().reservation_id() + "' tokens: 9 }");
  session.when("effect_outcome { effect_id: '" + session.effects().at(0).effect_id +
               "' attempt: 1 result: '' }");
  session.when("call_died { call_id: '" + turn().call_id() + "' failure { " + kUnread +
               " } not_started: true }");
  session.then({"turn.reopened"});
  EXPECT_EQ(turn().error().code(), "terms_unread");
}

TEST(TermsUnread, AnEmbeddingIsTriedAgainAsWell) {
  Given<InferenceDecider> call({"demo", "inference", "i1", {}});
  call.when(
      "start_inference { request { mode: 'embedding' messages { role: 'user' content: 'hi' } "
      "fallbacks: 'narrow' deadline_ms: 60000 } settings { deployment_mode: 'test' } constitution "
      "{ hash: 'c' } policy { action_id: 'slm.embed' confidence: 0.9 risk_score: 0.1 } }");
  call.when("budget_granted { reservation_id: '" + call.state().reservation_id() +
            "' tokens: 100 }");
  std::int64_t now = 1000;
  const auto failed = [&] {
    const auto attempt = call.effects().at(0).attempt;
    call.at(now).when("effect_outcome { attempt: " + std::to_string(attempt) + " failure { " +
                      kUnread + " } }");
  };
  for (const std::int64_t wait : {1000, 2000, 4000, 8000, 8000, 8000, 8000, 8000, 8000}) {
    failed();
    call.then({"inference.restarted"});
    EXPECT_EQ(call.effects().at(0).not_before_ms, now + wait);
    now += wait;
  }
  EXPECT_EQ(call.state().request().model(), "") << "no other model is asked";
  failed();
  call.then({"inference.failed"});
  EXPECT_EQ(call.state().error().code(), "terms_unread");
}

}  // namespace
}  // namespace soma::actors
