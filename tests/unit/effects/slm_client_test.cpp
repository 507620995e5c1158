// The model client against an upstream that behaves.
#include <cmath>
#include <ctime>

#include "tests/unit/effects/fixture.h"

namespace soma::test {
namespace {

using std::chrono::milliseconds;

double cosine(const v1::Embedding& a, const v1::Embedding& b) {
  double sum = 0;
  for (int i = 0; i < a.values_size(); ++i) sum += static_cast<double>(a.values(i)) * b.values(i);
  return sum;
}

TEST_F(SlmTest, TokensComeInOrderOnceAndMakeUpTheAnswer) {
  Behaviour b;
  b.tokens = {"The", " capital", " is", " Paris", " \u2713", "."};
  b.write_bytes = 7;  // cut within frames, chunks and characters
  upstream->otherwise(b);
  auto c = chat(request("call-1"));
  auto answer = c->wait();
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->output(), "The capital is Paris \u2713.");
  EXPECT_EQ(c->text(), answer->output());
  ASSERT_EQ(c->tokens.size(), 6u);
  for (std::uint32_t i = 0; i < 6; ++i) {
    EXPECT_EQ(c->tokens[i].first, i);
    EXPECT_EQ(c->tokens[i].second.size(), answer->chunk_bytes(static_cast<int>(i)));
  }
  EXPECT_EQ(answer->call_id(), "call-1");
  EXPECT_EQ(answer->finish_reason(), "stop");
  EXPECT_EQ(answer->model(), "scripted");
  EXPECT_EQ(answer->provider(), "openai");
  EXPECT_EQ(answer->usage().completion_tokens(), 6u);
  EXPECT_FALSE(answer->usage().estimated());
}

TEST_F(SlmTest, SendsWhatTheContractAsksFor) {
  endpoint.api_key = "secret-key";
  auto r = request("call-7");
  r.mutable_sampling()->set_max_tokens(17);
  r.mutable_sampling()->set_has_temperature(true);
  r.mutable_sampling()->set_temperature(0);
  ASSERT_TRUE(chat(r, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")->wait());
  const auto seen = upstream->requests();
  ASSERT_EQ(seen.size(), 1u);
  for (const char* line :
       {"Idempotency-Key: call-7\r\n", "Authorization: Bearer secret-key\r\n",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"})
    EXPECT_NE(seen[0].headers.find(line), std::string::npos) << line << seen[0].headers;
  for (const char* part :
       {"\"stream\":true", "\"include_usage\":true", "\"max_tokens\":17", "\"temperature\":0"})
    EXPECT_NE(seen[0].body.find(part), std::string::npos) << part << seen[0].body;
}

TEST_F(SlmTest, AHeaderCannotBeSmuggledIn) {
  ASSERT_TRUE(chat(request("x\r\nEvil: yes"))->wait());
  EXPECT_EQ(upstream->requests()[0].headers.find("\r\nEvil"), std::string::npos);
}

TEST_F(SlmTest, ConnectionsAreUsedAgain) {
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(chat(request("c" + std::to_string(i)))->wait());
  EXPECT_EQ(upstream->stats().connections, 1u);
}

TEST_F(SlmTest, FinishReasonIsRecordedAsItIs) {
  Behaviour b;
  b.finish_reason = "length";
  upstream->otherwise(b);
  auto answer = chat(request("c"))->wait();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->finish_reason(), "length");
}

TEST_F(SlmTest, MissingUsageIsEstimatedNeverFree) {
  Behaviour b;
  b.usage = false;
  upstream->otherwise(b);
  auto answer = chat(request("c"))->wait();
  ASSERT_TRUE(answer);
  EXPECT_TRUE(answer->usage().estimated());
  EXPECT_GE(answer->usage().completion_tokens(), 5u);
  EXPECT_GE(answer->usage().prompt_tokens(), 3u);
}

TEST_F(SlmTest, NoMoreThanTheServersShareAtOnceOthersWaitInOrder) {
  endpoint.max_concurrent = 2;
  Behaviour b;
  b.delay_ms = 30;
  upstream->otherwise(b);
  std::vector<std::shared_ptr<Chat>> all;
  for (int i = 0; i < 9; ++i) all.push_back(chat(request("c" + std::to_string(i))));
  for (auto& c : all) ASSERT_TRUE(c->wait());
  EXPECT_LE(upstream->stats().connections, 2u);
  const auto seen = upstream->requests();
  ASSERT_EQ(seen.size(), 9u);
  for (std::size_t i = 0; i + 2 < seen.size();
       i += 2)  // two at a time: neighbours may swap, pairs may not
    EXPECT_NE(seen[i].headers.find("Idempotency-Key: c"), std::string::npos);
}

TEST_F(SlmTest, ACancelledCallEndsOnceWhetherItRunsOrWaits) {
  endpoint.max_concurrent = 1;
  Behaviour b;
  b.stall_after = 1;
  upstream->otherwise(b);
  auto running = chat(request("running"));
  auto waiting = chat(request("waiting"));
  client->cancel("waiting");
  auto a = waiting->wait();
  ASSERT_FALSE(a);
  EXPECT_EQ(a.error().code, Code::kCancelled);
  client->cancel("running");
  a = running->wait();
  ASSERT_FALSE(a);
  EXPECT_EQ(a.error().code, Code::kCancelled);
  upstream->otherwise({});
  EXPECT_TRUE(chat(request("after"))->wait());
  client->cancel("never heard of");
  EXPECT_EQ(running->outcomes, 1);
}

TEST_F(SlmTest, StoppingEndsWhatRuns) {
  Behaviour b;
  b.stall_after = 0;
  upstream->otherwise(b);
  auto c = chat(request("c"));
  client.reset();
  auto a = c->wait();
  ASSERT_FALSE(a);
  EXPECT_EQ(a.error().code, Code::kUnavailable);
}

TEST_F(SlmTest, AFinishedAnswerDoesNotWaitForTheConnectionsEnd) {
  Behaviour b;
  upstream->otherwise(b);
  const auto began = std::chrono::steady_clock::now();
  ASSERT_TRUE(chat(request("c"))->wait());
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(5));
}

TEST_F(SlmTest, EmbeddingsAreUnitVectorsInOrder) {
  endpoint.embed_batch = 3;
  std::vector<std::string> texts;
  for (int i = 0; i < 10; ++i) texts.push_back("text number " + std::to_string(i));
  auto all = embed(texts);
  ASSERT_TRUE(all) << all.error().message;
  ASSERT_EQ(all->embeddings_size(), 10);
  EXPECT_EQ(upstream->stats().embeddings, 4u);
  for (int i = 0; i < 10; ++i) {
    EXPECT_NEAR(cosine(all->embeddings(i), all->embeddings(i)), 1.0, 1e-5);
    const auto expected = hash_embedding(texts[static_cast<std::size_t>(i)], 384);
    EXPECT_NEAR(all->embeddings(i).values(5), expected[5], 1e-6);
  }
  auto again = embed({texts[3]});
  ASSERT_TRUE(again);
  EXPECT_NEAR(cosine(again->embeddings(0), all->embeddings(3)), 1.0, 1e-6);
}

TEST_F(SlmTest, LongTextsAreReadToTheEnd) {
  endpoint.embed_piece_bytes = 40;
  const std::string beginning = "one two three four five six seven eight nine ";
  auto r = embed({beginning + "cats", beginning + "dogs", "short"});
  ASSERT_TRUE(r) << r.error().message;
  ASSERT_EQ(r->embeddings_size(), 3);
  EXPECT_NEAR(cosine(r->embeddings(0), r->embeddings(0)), 1.0, 1e-5);
  EXPECT_LT(cosine(r->embeddings(0), r->embeddings(1)), 0.999);  // the end differs, and counts
}

TEST_F(SlmTest, NothingToEmbedIsRefused) {
  auto r = embed({});
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, Code::kInvalidArgument);
}

TEST_F(SlmTest, ModelsAreListed) {
  std::promise<Result<std::vector<std::string>>> promise;
  client->models(endpoint, [&](auto r) { promise.set_value(std::move(r)); });
  auto r = promise.get_future().get();
  ASSERT_TRUE(r);
  EXPECT_EQ(*r, std::vector<std::string>{"scripted"});
}

TEST_F(SlmTest, WaitsForAServerThatIsComingUp) {
  std::atomic<int> asked{0};
  std::promise<Result<SlmEndpoint>> promise;
  client->when_ready(
      [&]() -> Result<SlmEndpoint> {
        if (++asked >= 4) return endpoint;
        return tl::unexpected(Error{Code::kModelUnavailable, "starting", {}, 500});
      },
      [&](Result<SlmEndpoint> e) { promise.set_value(std::move(e)); });
  auto future = promise.get_future();
  ASSERT_EQ(future.wait_for(kPatience), std::future_status::ready);
  EXPECT_TRUE(future.get());
}

TEST_F(SlmTest, DoesNotWaitForOneThatIsNotComing) {
  int asked = 0;
  Result<SlmEndpoint> got = endpoint;
  client->when_ready(
      [&]() -> Result<SlmEndpoint> {
        ++asked;
        return fail(Code::kModelUnavailable, "none is configured");
      },
      [&](Result<SlmEndpoint> e) { got = std::move(e); });
  EXPECT_FALSE(got);
  EXPECT_EQ(asked, 1);
}

// A figure to look at, and a bar low enough for sanitizers; in CPU time, so that other work on the
// machine does not count.
TEST_F(SlmTest, ThousandsOfCallsASecond) {
  constexpr int kCalls = 4000, kOutstanding = 64;
  Behaviour b;
  b.tokens = {"ok"};
  upstream->otherwise(b);
  std::atomic<int> started{0}, done{0}, good{0};
  std::promise<void> all;
  std::function<void()> next = [&] {
    const int n = started++;
    if (n >= kCalls) return;
    client->chat(endpoint, request("c" + std::to_string(n)), {}, {},
                 [&](Result<v1::ModelAnswer> a) {
                   if (a && a->output() == "ok") ++good;
                   if (++done == kCalls) return all.set_value();
                   next();
                 });
  };
  const auto began = std::chrono::steady_clock::now();
  const std::clock_t cpu_began = std::clock();
  for (int i = 0; i < kOutstanding; ++i) next();
  ASSERT_EQ(all.get_future().wait_for(std::chrono::seconds(60)), std::future_status::ready);
  const double s = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  const double cpu_s = static_cast<double>(std::clock() - cpu_began) / CLOCKS_PER_SEC;
  RecordProperty("calls_per_second", static_cast<int>(kCalls / s));
  std::printf("%.0f streamed calls/s, %d outstanding\n", kCalls / s, kOutstanding);
  EXPECT_EQ(good, kCalls);
  EXPECT_LE(upstream->stats().connections, static_cast<std::uint64_t>(kOutstanding));
  EXPECT_GT(kCalls / cpu_s, 500);
}

}  // namespace
}  // namespace soma::test
