// A key claimed long ago whose answer was not recorded: its command is looked for in its actor's
// history.
#include "runtime/api/command_history.h"

#include <boost/json/parse.hpp>

#include "actors/idempotency/idempotency.h"
#include "actors/memory/memory.h"
#include "runtime/api/keys.h"
#include "soma/v1/idempotency.pb.h"
#include "tests/unit/host/fixture.h"

namespace soma::runtime::api {
namespace {

constexpr std::int64_t kHourMs = 3600 * 1000;
constexpr auto kPatience = std::chrono::minutes(2);  // then a test fails instead of hanging

struct Heard final : http::Responder::Sink {
  void send(http::Response r) override { response.set_value(std::move(r)); }
  bool answered() const override { return false; }
  std::shared_ptr<http::EventStream> stream(http::StreamHead) override { return nullptr; }
  std::promise<http::Response> response;
};

// The host's clock, some hours later.
struct LaterClock final : Clock {
  explicit LaterClock(Clock& c) : clock(c) {}
  std::int64_t now_ms() const override { return clock.now_ms() + hours * kHourMs; }
  std::int64_t steady_ms() const override { return clock.steady_ms(); }
  void call_in(std::int64_t delay_ms, std::function<void()> wake) override {
    clock.call_in(delay_ms, std::move(wake));
  }
  void call_at(std::int64_t at_ms, std::function<void()> wake) override {
    clock.call_at(at_ms - hours * kHourMs, std::move(wake));
  }
  Clock& clock;
  std::atomic<std::int64_t> hours{0};
};

// Counts what is asked for; has nothing.
struct NoModels final : SlmClient {
  void stop() override {}
  void chat(const SlmEndpoint&, const v1::ModelRequest&, const std::string&, OnToken, OnAnswer,
            Before) override {
    ++asked;
  }
  void embed(const SlmEndpoint&, const std::vector<std::string>&, OnEmbeddings done) override {
    ++asked;
    done(fail(Code::kModelUnavailable, "it is away"));
  }
  void models(const SlmEndpoint&, OnModels) override { ++asked; }
  void when_ready(Resolve, std::function<void(Result<SlmEndpoint>)>) override { ++asked; }
  void cancel(const std::string&) override {}
  int asked = 0;
};

struct CommandHistoryTest : HostFixture {
  CommandHistoryTest() {
    limits_.checkpoint_every_events = 1;
    runner_.silent = true;
  }
  void TearDown() override {
    look_ups.stop();
    HostFixture::TearDown();
  }

  void compose() {
    node.host = host_.get();
    node.log = log_.get();
    node.clock = &later;
    node.look_ups = &look_ups;
    node.slm = &models;
    if (!node.embedding_endpoint)
      node.embedding_endpoint = [] {
        return Result<SlmEndpoint>(fail(Code::kModelUnavailable, "off", kNoModel));
      };
  }
  static http::Response wait_for(std::future<http::Response> response) {
    if (response.wait_for(kPatience) == std::future_status::ready) return response.get();
    ADD_FAILURE() << "no answer";
    return {};
  }
  // Adds 5 under the key "key", as a request whose key was claimed `hours` ago; 0: just now.
  http::Response add_five(int hours, const std::string& body = {}) {
    compose();
    auto request = std::make_shared<http::Request>();
    request->principal.set_tenant("demo");
    request->idempotency_key = "key";
    request->body = body;
    request->replayed = hours > 0;
    if (hours > 0) request->key_claimed_ms = later.now_ms() - hours * kHourMs;
    v1::CounterCommand c;
    c.mutable_add()->set_amount(5);
    auto heard = std::make_shared<Heard>();
    auto response = heard->response.get_future();
    submit_settled(node, request, http::Responder(heard),
                   make_submission(*request, counter("c"), c, command_id_of(*request)),
                   [](const Accepted& a) { return http::text_response(200, a.reply); });
    return wait_for(std::move(response));
  }
  // The real route, behind keys as the gate has them.
  http::Response remember(const std::string& key, const std::string& text) {
    compose();
    const auto match = router().match("POST", "/v1/remember");
    auto request = std::make_shared<http::Request>();
    request->method = "POST";
    request->path = request->route = "/v1/remember";
    request->principal.set_tenant("demo");
    request->idempotency_key = key;
    request->body = R"({"coord":"here","text":")" + text + "\"}";
    request->json = boost::json::parse(request->body);
    for (const auto until = std::chrono::steady_clock::now() + kPatience;;) {
      auto again = std::make_shared<http::Request>(*request);
      auto heard = std::make_shared<Heard>();
      auto response = heard->response.get_future();
      keys.handle(*match.route, again, http::Responder(heard));
      auto out = wait_for(std::move(response));
      // Partitions are recovering.
      if (out.status != 503 || std::chrono::steady_clock::now() > until) return out;
      std::this_thread::yield();
    }
  }
  const http::Router& router() {
    if (routes.routes().empty()) register_memories(routes, node);
    return routes;
  }
  template <typename State>
  State state_of(const ActorKey& actor) {
    std::promise<Result<StateView>> promise;
    auto view = promise.get_future();
    host_->read(actor, [&](Result<StateView> r) { promise.set_value(std::move(r)); });
    auto found = view.get();
    EXPECT_TRUE(found) << found.error().message;
    return found ? static_cast<const State&>(*found->state) : State();
  }
  bool has_answer(const std::string& key) {
    return state_of<v1::IdempotencyState>(actors::idempotency_key("demo", key)).has_answer();
  }
  std::size_t events_of(const ActorKey& actor) { return host_->history(actor, {}, 100)->size(); }

  // As 25 hours do: the command's id is known to nobody but the log.
  void forget_ids(const ActorKey& actor) {
    const PartitionId p = partition_of(actor, log_->partition_count());
    const auto until = std::chrono::steady_clock::now() + kPatience;
    while (!store_->dedupe(p, "demo:key")) {
      ASSERT_LT(std::chrono::steady_clock::now(), until) << "the id did not reach the store";
      std::this_thread::yield();
    }
    store_->expire_dedupe(clock_->now_ms() + kHourMs);
    restart();
    state("c");  // serves again
    compose();
  }
  static bool replayed(const http::Response& r) {
    for (const auto& [name, value] : r.headers)
      if (name == "Idempotent-Replayed") return true;
    return false;
  }

  Node node;
  LaterClock later{*clock_};
  NoModels models;
  http::Router routes;
  Keys keys{node};
  CommandLookUps look_ups;
};

const ActorKey kHere = actors::memory_key("demo", "mem_at_68657265");

TEST_F(CommandHistoryTest, ACommandThatItsPartitionForgotIsNotAppliedAgain) {
  state("c");
  const auto first = add_five(0);
  EXPECT_EQ(first.status, 200);
  forget_ids(counter("c"));
  const auto again = add_five(25);
  EXPECT_EQ(again.status, 200);
  EXPECT_EQ(again.body, first.body);
  EXPECT_TRUE(replayed(again));
  EXPECT_EQ(state("c").value(), 5);
  add_five(1);
  EXPECT_EQ(state("c").value(), 10) << "the partition had not forgotten; nothing was shown";
}

TEST_F(CommandHistoryTest, OneThatNeverRanRunsHoweverOldItsKeyIs) {
  state("c");
  const auto late = add_five(25);
  EXPECT_EQ(late.status, 200);
  EXPECT_FALSE(replayed(late));
  EXPECT_EQ(state("c").value(), 5);
}

TEST_F(CommandHistoryTest, ALookUpThatFailsIsNoRefusal) {
  state("c");
  EXPECT_EQ(add_five(0).status, 200);
  EXPECT_EQ(add_five(25, "another request").status, 503) << "the same id with another body";
  look_ups.stop();
  EXPECT_EQ(add_five(25).status, 503);
  EXPECT_EQ(state("c").value(), 5);
}

TEST_F(CommandHistoryTest, AFactRememberedAfterADayIsNotRememberedAgain) {
  state("c");
  const auto first = remember("key", "one");
  ASSERT_EQ(first.status, 200) << first.body;
  EXPECT_FALSE(has_answer("key")) << "its event makes it again";
  ASSERT_EQ(remember("later", "two").status, 200);
  forget_ids(kHere);
  later.hours = 25;
  const auto again = remember("key", "one");
  EXPECT_EQ(again.status, 200);
  EXPECT_EQ(again.body, first.body);
  EXPECT_TRUE(replayed(again));
  EXPECT_EQ(state_of<v1::MemoryState>(kHere).fact().text(), "two") << "an old fact took its place";
  EXPECT_EQ(events_of(kHere), 2u);
}

TEST_F(CommandHistoryTest, WhatLedToNoEventIsRecorded) {
  state("c");
  ASSERT_EQ(remember("key", "one").status, 200);
  const auto same = remember("other", "one");
  EXPECT_EQ(same.status, 200);
  EXPECT_EQ(events_of(kHere), 1u);
  EXPECT_FALSE(has_answer("key"));
  EXPECT_TRUE(has_answer("other")) << "nothing else tells that it was applied";
  ASSERT_EQ(remember("third", "two").status, 200);
  const auto again = remember("other", "one");
  EXPECT_EQ(again.body, same.body);
  EXPECT_EQ(state_of<v1::MemoryState>(kHere).fact().text(), "two");
}

TEST_F(CommandHistoryTest, ARetryDoesNotAskTheModelAgain) {
  node.embedding_endpoint = [] { return Result<SlmEndpoint>(SlmEndpoint{}); };
  state("c");
  ASSERT_EQ(remember("key", "one").status, 200);
  EXPECT_EQ(models.asked, 1);
  ASSERT_EQ(remember("key", "one").status, 200);
  EXPECT_EQ(models.asked, 1);
  EXPECT_EQ(events_of(kHere), 1u);
}

TEST(CommandLookUpsTest, AreBoundedAndEndAtOnce) {
  CommandLookUps look_ups;
  std::atomic<std::size_t> told{0};
  ASSERT_TRUE(look_ups.post([&](const std::atomic<bool>& stopping) {
    const auto until = std::chrono::steady_clock::now() + kPatience;
    while (!stopping && std::chrono::steady_clock::now() < until) std::this_thread::yield();
    told += stopping;
  }));
  for (std::size_t i = 1; i < CommandLookUps::kMaxWaiting; ++i)
    ASSERT_TRUE(look_ups.post([&](const std::atomic<bool>& stopping) { told += stopping; }));
  EXPECT_FALSE(look_ups.post([](const std::atomic<bool>&) {})) << "one more than may wait";
  look_ups.stop();
  EXPECT_EQ(told, CommandLookUps::kMaxWaiting);
  EXPECT_FALSE(look_ups.post([](const std::atomic<bool>&) {}));
}

}  // namespace
}  // namespace soma::runtime::api
