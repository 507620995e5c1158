// Many callers' texts share requests, and only requests.
#include "runtime/effects/embed_queue.h"

#include "tests/unit/effects/fixture.h"

namespace soma::test {
namespace {

class EmbedQueueTest : public SlmTest {
 protected:
  using Outcome = Result<v1::EmbedResult>;

  std::future<Outcome> ask(const std::string& text) {
    auto promise = std::make_shared<std::promise<Outcome>>();
    client->embed(endpoint, {text}, [promise](Outcome r) { promise->set_value(std::move(r)); });
    return promise->get_future();
  }
  static std::string text(int i) { return "what caller " + std::to_string(i) + " says"; }
  // Whether a caller got the vector of its own text.
  static void expect_own(std::future<Outcome>& answer, int i) {
    ASSERT_EQ(answer.wait_for(kPatience), std::future_status::ready) << i;
    auto r = answer.get();
    ASSERT_TRUE(r) << i << ": " << r.error().message;
    ASSERT_EQ(r->embeddings_size(), 1);
    const auto expected = hash_embedding(text(i), 384);
    for (int k = 0; k < 384; k += 17)
      ASSERT_NEAR(r->embeddings(0).values(k), expected[static_cast<std::size_t>(k)], 1e-6) << i;
  }
};

TEST_F(EmbedQueueTest, WhatWaitsSharesRequests) {
  Behaviour slow;
  slow.delay_ms = 30;  // so that callers come while requests are under way
  upstream->otherwise(slow);
  constexpr int kCallers = 64;
  std::vector<std::future<Outcome>> answers;
  for (int i = 0; i < kCallers; ++i) answers.push_back(ask(text(i)));
  for (int i = 0; i < kCallers; ++i) expect_own(answers[static_cast<std::size_t>(i)], i);
  // Four alone at first; the others eight by eight.
  EXPECT_LE(upstream->stats().embeddings, 4u + (kCallers - 4 + 7) / 8 + 4);
}

TEST_F(EmbedQueueTest, ARefusedRequestIsRepeatedTextByText) {
  Behaviour slow, refusing;
  slow.delay_ms = 50;
  refusing.status = 400;
  refusing.text = "one of the texts is bad";
  for (std::size_t i = 0; i < runtime::EmbedQueue::kUnderWay; ++i) upstream->next(slow);
  upstream->next(refusing);  // the first shared one
  constexpr int kCallers = 12;
  std::vector<std::future<Outcome>> answers;
  for (int i = 0; i < kCallers; ++i) answers.push_back(ask(text(i)));
  for (int i = 0; i < kCallers; ++i) expect_own(answers[static_cast<std::size_t>(i)], i);
}

TEST_F(EmbedQueueTest, ATextRefusedAloneFailsItsCaller) {
  Behaviour refusing;
  refusing.status = 400;
  refusing.text = "bad";
  upstream->next(refusing);
  auto answer = ask(text(1));
  ASSERT_EQ(answer.wait_for(kPatience), std::future_status::ready);
  const auto r = answer.get();
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, Code::kInvalidArgument);
  auto next = ask(text(2));
  expect_own(next, 2);
}

TEST_F(EmbedQueueTest, StoppingEndsWhatIsUnderWayAndWhatWaits) {
  Behaviour silent;
  silent.delay_ms = 60'000;
  upstream->otherwise(silent);
  std::vector<std::future<Outcome>> answers;
  for (int i = 0; i < 40; ++i) answers.push_back(ask(text(i)));
  client.reset();
  for (auto& answer : answers) {
    ASSERT_EQ(answer.wait_for(kPatience), std::future_status::ready);
    const auto r = answer.get();
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code, Code::kUnavailable);
  }
}

}  // namespace
}  // namespace soma::test
