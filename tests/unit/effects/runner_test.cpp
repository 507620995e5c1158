// Effects by kind: outcomes and failures as deciders get them.
#include "runtime/effects/runner.h"

#include <atomic>
#include <thread>

#include "tests/support/hand_clock.h"
#include "tests/unit/effects/fixture.h"

namespace soma::test {
namespace {

using namespace soma::runtime;

class RunnerTest : public SlmTest {
 protected:
  void SetUp() override {
    SlmTest::SetUp();
    parts->client = client.get();
    parts->tokens = &tokens;
    parts->chat_endpoint =
        parts->embedding_endpoint = [this] { return Result<SlmEndpoint>(endpoint); };
    parts->recall = [this](const v1::RecallRequest& r, auto done) {
      recalled_tenant = r.tenant();
      done(v1::RecallResult{});
    };
    runner = make_effect_runner(parts);
  }

  v1::EffectOutcome run(const std::string& kind, const std::string& request,
                        std::uint32_t attempt = 1) {
    auto promise = std::make_shared<std::promise<v1::EffectOutcome>>();
    auto future = promise->get_future();
    EffectRunner::Job job;
    job.actor = {"acme", "model", "m", ""};
    job.tenant = "acme";
    job.effect = {"e-1", kind, actors::EffectClass::kIdempotent, attempt, 0, 0, request};
    runner->run(job, [promise](v1::EffectOutcome o) { promise->set_value(std::move(o)); });
    if (cancel) runner->cancel("e-1");
    if (future.wait_for(kPatience) != std::future_status::ready) return {};
    return future.get();
  }

  std::shared_ptr<RunnerParts> parts = std::make_shared<RunnerParts>();
  TokenHub tokens;
  std::unique_ptr<EffectRunner> runner;
  std::string recalled_tenant;
  bool cancel = false;
};

TEST_F(RunnerTest, CallsAndTokensAreMeasuredUnderTheirModel) {
  Metrics metrics;
  parts->metrics = &metrics;
  ASSERT_TRUE(run("slm.chat", request("e-1").SerializeAsString(), 1).has_result());
  parts->chat_endpoint = [] { return Result<SlmEndpoint>(fail(Code::kModelUnavailable, "gone")); };
  ASSERT_TRUE(run("slm.chat", request("e-1").SerializeAsString(), 1).has_failure());
  const auto page = metrics.render();
  EXPECT_NE(page.find("gen_ai_client_operation_duration_seconds_count{gen_ai_operation_name="
                      "\"chat\",gen_ai_response_model="),
            std::string::npos)
      << page;
  EXPECT_NE(page.find("error_type=\"model_unavailable\""), std::string::npos) << page;
  EXPECT_NE(page.find("gen_ai_token_type=\"output\""), std::string::npos) << page;
}

TEST_F(RunnerTest, AChatsTokensReachTheHubAndItsAnswerTheDecider) {
  std::string heard;
  auto s = tokens.subscribe("e-1", [&](const TokenHub::Token& t) { heard += t.text; });
  auto o = run("slm.chat", request("e-1").SerializeAsString(), 3);
  EXPECT_EQ(o.effect_id(), "e-1");
  EXPECT_EQ(o.attempt(), 3u);
  ASSERT_TRUE(o.has_result()) << o.failure().message();
  v1::ModelAnswer answer;
  ASSERT_TRUE(answer.ParseFromString(o.result()));
  EXPECT_EQ(answer.output(), "Hello from the script.");
  EXPECT_EQ(answer.attempt(), 3u);
  EXPECT_EQ(heard, answer.output());
}

TEST_F(RunnerTest, FailuresSayWhetherToTryAgainAndWhen) {
  upstream->set(*parse_script(R"({"status": 429, "retry_after_s": 7})"));
  auto o = run("slm.chat", request("e-1").SerializeAsString());
  ASSERT_TRUE(o.has_failure());
  EXPECT_EQ(o.failure().code(), "rate_limited");
  EXPECT_TRUE(o.failure().retryable());
  EXPECT_EQ(o.failure().retry_after_ms(), 7000);
  upstream->set(*parse_script(R"({"status": 400})"));
  o = run("slm.chat", request("e-1").SerializeAsString());
  EXPECT_EQ(o.failure().code(), "invalid_argument");
  EXPECT_FALSE(o.failure().retryable());
}

TEST_F(RunnerTest, ADeadModelIsAFailureAtOnce) {
  parts->chat_endpoint = [] {
    return Result<SlmEndpoint>(fail(Code::kModelUnavailable, "no model is configured"));
  };
  auto o = run("slm.chat", request("e-1").SerializeAsString());
  EXPECT_EQ(o.failure().code(), "unavailable") << "nothing was sent";
}

TEST_F(RunnerTest, ACancelledCallSaysSo) {
  Behaviour b;
  b.stall_after = 1;
  upstream->otherwise(b);
  cancel = true;
  auto o = run("slm.chat", request("e-1").SerializeAsString());
  EXPECT_EQ(o.failure().code(), "cancelled");
  while (tokens.calls() > 0)
    std::this_thread::yield();  // forgotten just after the report; ends by the time limit
}

// Not a failure of the model, by which its breaker would open after each restart, nor of a call
// that was not sent.
TEST_F(RunnerTest, WhatOurStoppingCutsOffHasNoOutcome) {
  Behaviour b;
  b.stall_after = 1;
  upstream->otherwise(b);
  std::atomic<int> outcomes = 0, begun = 0;
  auto s = tokens.subscribe("e-1", [&](const TokenHub::Token&) { ++begun; });
  EffectRunner::Job job;
  job.actor = {"acme", "model", "m", ""};
  job.tenant = "acme";
  job.effect = {"e-1", "slm.chat", actors::EffectClass::kIdempotent,  1,
                0,     0,          request("e-1").SerializeAsString()};
  runner->run(job, [&](auto) { ++outcomes; });
  while (begun == 0) std::this_thread::yield();  // ends by the time limit
  std::atomic<int> waiting_outcomes = 0;
  parts->chat_endpoint = [] {
    return Result<SlmEndpoint>(tl::unexpected(Error{Code::kModelUnavailable, "starting", {}, 500}));
  };
  runner->run(job, [&](auto) { ++waiting_outcomes; });
  client->stop();
  EXPECT_EQ(outcomes, 0) << "of a call that was under way";
  EXPECT_EQ(waiting_outcomes, 0) << "of one that waited for a model to start";
  runner->run(job, [&](auto) { ++outcomes; });
  EXPECT_EQ(outcomes, 0) << "of a call that was not sent";
}

// Whether its terms still hold is asked when a call is about to be sent, and nothing is sent
// before.
TEST_F(RunnerTest, WhatItWasAllowedUnderIsLookedAtFirst) {
  v1::ModelRequest call = request("e-1");
  call.mutable_terms()->set_constitution_hash("c");
  std::string asked;
  std::optional<v1::StartTerms> now;
  std::optional<Error> unread;
  parts->look = [&](const std::string& tenant, const v1::CallTerms& terms, auto done) {
    asked = tenant + " " + terms.constitution_hash();
    if (unread) return done(tl::unexpected(*unread));
    done(now);
  };
  EXPECT_TRUE(run("slm.chat", call.SerializeAsString(), 1).has_result());
  EXPECT_EQ(asked, "acme c");
  now.emplace().set_halted(true);
  v1::EmbedRequest texts;
  texts.add_texts("one");
  EXPECT_TRUE(run("memory.embed", texts.SerializeAsString(), 4).has_result()) << "memory's own";
  upstream->set(*parse_script(R"({"status": 500})"));  // whoever asks it is told so
  const auto held = run("slm.chat", call.SerializeAsString(), 2);
  v1::ModelAnswer answer;
  ASSERT_TRUE(held.has_result()) << held.failure().message();
  ASSERT_TRUE(answer.ParseFromString(held.result()));
  EXPECT_TRUE(answer.held().halted());
  unread = Error{Code::kFenced, "the owner is elsewhere", {}};
  const auto failed = run("slm.chat", call.SerializeAsString(), 3);
  EXPECT_EQ(failed.failure().code(), "terms_unread") << "nothing was sent";
  EXPECT_TRUE(failed.failure().retryable());
  EXPECT_EQ(failed.attempt(), 3u);
  texts.mutable_terms()->set_constitution_hash("c");
  EXPECT_EQ(run("memory.embed", texts.SerializeAsString(), 5).failure().code(), "terms_unread");
  unread.reset();
  const auto embed = run("memory.embed", texts.SerializeAsString(), 5);
  v1::EmbedResult result;
  ASSERT_TRUE(result.ParseFromString(embed.result()));
  EXPECT_TRUE(result.held().halted());
}

TEST_F(RunnerTest, ACallThatIsCancelledWhileItsTermsAreReadSaysSo) {
  parts->look = [](const std::string&, const v1::CallTerms&, auto) {};  // never answers
  cancel = true;
  EXPECT_EQ(run("slm.chat", request("e-1").SerializeAsString()).failure().code(), "cancelled");
}

// The look answers on any thread, also after the call was ended on the loop's.
TEST_F(RunnerTest, ALookThatAnswersACancelledCallChangesNothing) {
  using Answer = std::function<void(Result<std::optional<v1::StartTerms>>)>;
  std::vector<std::thread> lookers;
  std::atomic<bool> tell{false};
  parts->look = [&](const std::string&, const v1::CallTerms&, Answer done) {
    lookers.emplace_back([&tell, done = std::move(done)] {
      while (!tell) std::this_thread::yield();
      v1::StartTerms halted;
      halted.set_halted(true);
      done(std::optional<v1::StartTerms>(halted));
    });
  };
  cancel = true;
  EXPECT_EQ(run("slm.chat", request("e-1").SerializeAsString()).failure().code(), "cancelled");
  tell = true;  // late: nobody is told twice
  for (auto& t : lookers) t.join();
  lookers.clear();
  for (std::uint32_t attempt = 2; attempt < 50; ++attempt) {  // both at once
    const auto o = run("slm.chat", request("e-1").SerializeAsString(), attempt);
    EXPECT_TRUE(o.has_result() || o.failure().code() == "cancelled") << o.DebugString();
    for (auto& t : lookers) t.join();
    lookers.clear();
  }
}

TEST_F(RunnerTest, ALookThatDoesNotAnswerLeavesTheServerToOthers) {
  endpoint.max_concurrent = 1;
  parts->look = [](const std::string&, const v1::CallTerms&, auto) {};
  const auto o = run("slm.chat", request("e-1").SerializeAsString());
  EXPECT_EQ(o.failure().code(), "terms_unread");
  EXPECT_TRUE(o.failure().retryable());
  parts->look = nullptr;
  EXPECT_TRUE(run("slm.chat", request("e-1").SerializeAsString(), 2).has_result());
}

TEST_F(RunnerTest, TextsAreEmbedded) {
  v1::EmbedRequest r;
  r.add_texts("one");
  auto o = run("memory.embed", r.SerializeAsString());
  v1::EmbedResult result;
  ASSERT_TRUE(o.has_result()) << o.failure().message();
  ASSERT_TRUE(result.ParseFromString(o.result()));
  ASSERT_EQ(result.embeddings_size(), 1);
  EXPECT_EQ(result.embeddings(0).values_size(), 384);
}

// A memory's own texts, whose eight failures its history shows.
constexpr std::int64_t kLongestPauseMs = 90'001;

struct PatientRunner : RunnerTest {
  void SetUp() override {
    RunnerTest::SetUp();
    parts->clock = &clock;
    parts->embedding_endpoint = [this]() -> Result<SlmEndpoint> {
      ++asked;
      if (away) return fail(Code::kModelUnavailable, "away", why);
      return endpoint;
    };
  }
  std::future<v1::EffectOutcome> begin(std::uint32_t attempt) {
    v1::EmbedRequest request;
    request.add_texts("one");
    EffectRunner::Job job;
    job.actor = {"acme", "memory", "m", ""};
    job.tenant = "acme";
    job.effect = {"e-1",
                  "memory.embed",
                  actors::EffectClass::kIdempotent,
                  attempt,
                  0,
                  0,
                  request.SerializeAsString()};
    auto promise = std::make_shared<std::promise<v1::EffectOutcome>>();
    auto future = promise->get_future();
    runner->run(job, [promise](v1::EffectOutcome o) { promise->set_value(std::move(o)); });
    return future;
  }
  static bool told(const std::future<v1::EffectOutcome>& f) {
    return f.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  }
  HandClock clock;
  bool away = true;
  std::string why;
  int asked = 0;
};

TEST_F(PatientRunner, TheFirstFailuresAreTold) {
  auto outcome = begin(8);
  ASSERT_TRUE(told(outcome));
  EXPECT_TRUE(outcome.get().failure().retryable());
}

TEST_F(PatientRunner, AnOutageIsWaitedOutAndFillsNoHistory) {
  auto outcome = begin(9);
  for (int minute = 1; minute <= 5; ++minute) {
    EXPECT_FALSE(told(outcome)) << minute;
    EXPECT_EQ(asked, minute);
    clock.pass(kLongestPauseMs);
  }
  away = false;
  clock.pass(kLongestPauseMs);
  ASSERT_EQ(outcome.wait_for(kPatience), std::future_status::ready);
  const auto o = outcome.get();
  EXPECT_TRUE(o.has_result()) << o.failure().message();
  EXPECT_EQ(o.attempt(), 9u);
}

TEST_F(PatientRunner, WhatIsNoLongerWantedIsNotAskedForAgain) {
  auto outcome = begin(9);
  runner->cancel("e-1");
  away = false;
  clock.pass(kLongestPauseMs);
  EXPECT_EQ(asked, 1) << "a forgotten text goes nowhere";
  EXPECT_TRUE(told(outcome));
}

// A partition that is dropped and recovered begins the same attempt again.
TEST_F(PatientRunner, OneThatIsBegunAgainIsAskedForOnce) {
  auto dropped = begin(9);
  runner->cancel("e-1");
  auto outcome = begin(9);
  EXPECT_EQ(asked, 2);
  clock.pass(kLongestPauseMs);
  EXPECT_EQ(asked, 3) << "the first wait goes on beside the second";
  EXPECT_FALSE(told(outcome));
  away = false;
  clock.pass(kLongestPauseMs);
  ASSERT_EQ(outcome.wait_for(kPatience), std::future_status::ready);
  EXPECT_TRUE(outcome.get().has_result());
}

TEST_F(PatientRunner, ItsEndIsTheEndOfTheWaiting) {
  begin(9);
  runner.reset();
  clock.pass(kLongestPauseMs);
  EXPECT_EQ(asked, 1);
}

TEST_F(PatientRunner, AModelThatIsOffIsNoOutage) {
  why = kNoModel;
  for (const std::uint32_t attempt : {1u, 9u}) {
    auto outcome = begin(attempt);
    ASSERT_TRUE(told(outcome)) << attempt;
    EXPECT_FALSE(outcome.get().failure().retryable()) << attempt;
  }
}

TEST_F(RunnerTest, ARecallIsAlwaysOfTheActorsOwnTenant) {
  v1::RecallRequest r;
  r.set_tenant("another");
  EXPECT_TRUE(run("memory.recall", r.SerializeAsString()).has_result());
  EXPECT_EQ(recalled_tenant, "acme");
}

// With whole texts and payloads it could be more than one entry of the journal holds.
TEST_F(RunnerTest, ARecallIsNoLargerThanItsSessionShows) {
  parts->recall = [](const v1::RecallRequest&, auto done) {
    v1::RecallResult r;
    for (int i = 0; i < 5; ++i) {
      auto* m = r.add_memories();
      m->set_memory_id("m" + std::to_string(i));
      m->set_text(std::string(300'000, 't'));
      m->set_payload_json(std::string(300'000, 'p'));
      m->set_score(0.5);
    }
    done(std::move(r));
  };
  const auto outcome = run("memory.recall", "");
  EXPECT_LT(outcome.result().size(), 32'000u);
  v1::RecallResult kept;
  ASSERT_TRUE(kept.ParseFromString(outcome.result()));
  ASSERT_EQ(kept.memories_size(), 5);
  EXPECT_EQ(kept.memories(4).memory_id(), "m4");
  EXPECT_TRUE(kept.memories(0).text().starts_with("ttt"));
}

TEST_F(RunnerTest, UnknownKindsAndUnreadableRequestsAreFailures) {
  EXPECT_EQ(run("mail.send", "").failure().code(), "not_supported");
  EXPECT_EQ(run("slm.chat", "\xff\xff").failure().code(), "internal");
  parts->recall = nullptr;
  EXPECT_EQ(run("memory.recall", "").failure().code(), "not_supported");
}

}  // namespace
}  // namespace soma::test
