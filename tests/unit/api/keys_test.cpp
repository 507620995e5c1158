// Idempotency-Key of writes: one run, one answer, waiters, and what is not kept.
#include "runtime/api/keys.h"

#include "actors/idempotency/idempotency.h"
#include "soma/v1/idempotency.pb.h"
#include "tests/unit/api/read_host.h"

namespace soma::runtime::api {
namespace {

// Runs the key's actor in memory; nothing else is submitted here.
struct KeyHost final : ReadHost {
  std::map<std::string, std::shared_ptr<v1::IdempotencyState>> keys;
  std::optional<Error> refuses;

  void submit(Submission s, OnAccepted done) override {
    if (refuses) return done(tl::unexpected(*refuses));
    v1::IdempotencyCommand command;
    if (s.actor.type != "idempotency" || !command.ParseFromString(s.command)) std::abort();
    auto& state = keys[s.actor.tenant + "/" + s.actor.id];
    auto next = std::make_shared<v1::IdempotencyState>(state ? *state : v1::IdempotencyState());
    v1::Context context;
    context.set_command_id(s.command_id);
    auto decided = actors::IdempotencyDecider::decide(s.actor, *next, command, context);
    if (!decided) return done(tl::unexpected(decided.error()));
    for (const auto& e : decided->events) actors::IdempotencyDecider::evolve(*next, e);
    state = next;
    done(Accepted{decided->reply.SerializeAsString(), {}, {}, false});
  }
  void read(ActorKey actor, OnState done) override {
    done(StateView{keys.at(actor.tenant + "/" + actor.id), {}, {}});
  }
};

struct Answer final : http::Responder::Sink {
  void send(http::Response r) override { response = std::move(r); }
  bool answered() const override { return response.has_value(); }
  std::shared_ptr<http::EventStream> stream(http::StreamHead) override { return nullptr; }
  std::string header(const std::string& name) const {
    for (const auto& [n, value] : response->headers)
      if (n == name) return value;
    return {};
  }
  std::optional<http::Response> response;
};

struct KeysTest : testing::Test {
  KeyHost host;
  HandClock clock;
  Node node;
  http::Route route;
  int ran = 0;
  int status = 201;
  bool remade = false, known = false;
  std::int64_t claimed_ms = 0;
  bool hold = false;
  std::vector<http::Responder> held;
  std::vector<bool> replayed;
  std::vector<std::uint32_t> rounds;
  std::unique_ptr<Keys> keys;

  KeysTest() {
    node.host = &host;
    node.clock = &clock;
    route.method = "POST";
    route.pattern = "/v1/things";
    route.handler = [this](std::shared_ptr<http::Request> r, http::Responder responder) {
      ++ran;
      replayed.push_back(r->replayed);
      rounds.push_back(r->key_round);
      claimed_ms = r->key_claimed_ms;
      if (hold) return held.push_back(std::move(responder));
      responder.send(answer());
    };
    keys = std::make_unique<Keys>(node);
  }
  http::Response answer() {
    if (status >= 400) {
      auto no = http::problem_as(status, {Code::kInvalidArgument, "no", {}});
      no.settled = known;
      return no;
    }
    auto out = http::json_response(status, boost::json::object{{"run", remade ? 1 : ran}});
    out.in_history = remade;
    return out.header("ETag", "\"1\"");
  }
  std::shared_ptr<Answer> ask(const std::string& body = "{}", const std::string& tenant = "acme",
                              const std::string& subject = "ana") {
    auto request = std::make_shared<http::Request>();
    request->method = "POST";
    request->path = "/v1/things";
    request->body = body;
    request->principal.set_tenant(tenant);
    request->principal.set_subject(subject);
    request->idempotency_key = "key";
    auto sink = std::make_shared<Answer>();
    keys->handle(route, request, http::Responder(sink));
    return sink;
  }
  static int status_of(const std::shared_ptr<Answer>& a) {
    return a->response ? a->response->status : 0;
  }
};

TEST_F(KeysTest, RunsOnceAndAnswersAlike) {
  const auto first = ask(), again = ask();
  EXPECT_EQ(ran, 1);
  EXPECT_EQ(status_of(first), 201);
  EXPECT_EQ(first->header("Idempotent-Replayed"), "");
  EXPECT_EQ(status_of(again), 201);
  EXPECT_EQ(again->response->body, first->response->body);
  EXPECT_EQ(again->header("ETag"), "\"1\"");
  EXPECT_EQ(again->header("Idempotent-Replayed"), "true");
  EXPECT_EQ(status_of(ask("{\"other\":1}")), 409);
  EXPECT_EQ(ran, 1);
  EXPECT_EQ(status_of(ask("{}", "rival")), 201) << "tenants' keys are apart";
  EXPECT_EQ(ran, 2);
}

TEST_F(KeysTest, ADuplicateWaitsForTheFirst) {
  hold = true;
  const auto first = ask(), second = ask(), other = ask("{\"other\":1}");
  EXPECT_EQ(ran, 1);
  EXPECT_EQ(status_of(other), 409) << "another request with the key of one that runs";
  EXPECT_EQ(status_of(second), 0) << "it waits";
  held.at(0).send(answer());
  EXPECT_EQ(status_of(first), 201);
  EXPECT_EQ(status_of(second), 201);
  EXPECT_EQ(second->header("Idempotent-Replayed"), "true");
  EXPECT_EQ(first->header("Idempotent-Replayed"), "");
}

TEST_F(KeysTest, WhoWaitsTooLongIsToldToComeBack) {
  hold = true;
  const auto first = ask(), second = ask();
  clock.pass(Keys::kMaxWaitMs + 1);
  EXPECT_EQ(status_of(second), 409);
  EXPECT_EQ(second->header("Retry-After"), "1");
  for (std::size_t i = 0; i < Keys::kMaxWaiting; ++i) ask();
  EXPECT_EQ(status_of(ask()), 409) << "one more than may wait";
  held.at(0).send(answer());
  EXPECT_EQ(status_of(first), 201);
  EXPECT_EQ(ran, 1);
}

TEST_F(KeysTest, WhatWasRefusedLeavesTheKeyFree) {
  status = 422;
  EXPECT_EQ(status_of(ask()), 422);
  status = 201;
  EXPECT_EQ(status_of(ask("{\"better\":1}")), 201) << "another body now";
  EXPECT_EQ(ran, 2);
  EXPECT_EQ(replayed, (std::vector<bool>{false, false}));
}

TEST_F(KeysTest, AFailureOfOursIsFoundOutByTheRetry) {
  status = 503;
  EXPECT_EQ(status_of(ask()), 503);
  status = 201;
  EXPECT_EQ(status_of(ask("{\"other\":1}")), 409) << "the key still stands for the first";
  EXPECT_EQ(status_of(ask()), 201);
  EXPECT_EQ(replayed, (std::vector<bool>{false, true})) << "the handler knows that it may have run";
}

TEST_F(KeysTest, SecretsAreNotKept) {
  route.secret_answer = true;
  EXPECT_EQ(status_of(ask()), 201);
  EXPECT_EQ(status_of(ask()), 201);
  EXPECT_EQ(ran, 2) << "its command's recorded reply makes the same of it";
  ASSERT_EQ(host.keys.size(), 1u);
  EXPECT_FALSE(host.keys.begin()->second->has_answer());
}

TEST_F(KeysTest, WhoWaitsForASecretIsToldThatItIsTheFirstAnswer) {
  route.secret_answer = true;
  hold = true;
  const auto first = ask(), second = ask();
  held.at(0).send(answer());
  EXPECT_EQ(first->header("Idempotent-Replayed"), "");
  EXPECT_EQ(second->header("Idempotent-Replayed"), "true");
  EXPECT_EQ(second->response->body, first->response->body);
}

TEST_F(KeysTest, ASecretIsNotTheAnswerOfAnotherCallerWhoWaits) {
  route.secret_answer = true;
  hold = true;
  const auto ana = ask("{}", "acme", "ana"), bob = ask("{}", "acme", "bob");
  EXPECT_EQ(status_of(bob), 409);
  held.at(0).send(answer());
  EXPECT_EQ(status_of(ana), 201);
  EXPECT_EQ(ran, 1);
}

TEST_F(KeysTest, WhatItsCommandMakesAgainIsNotKept) {
  remade = hold = true;
  const auto first = ask(), second = ask();
  held.at(0).send(answer());
  EXPECT_EQ(first->header("Idempotent-Replayed"), "");
  EXPECT_EQ(second->header("Idempotent-Replayed"), "true");
  EXPECT_EQ(second->response->body, first->response->body);
  EXPECT_FALSE(host.keys.begin()->second->has_answer());
  host.keys.begin()->second->set_claimed_ms(7);
  hold = false;
  ask();
  EXPECT_EQ(replayed, (std::vector<bool>{false, true}));
  EXPECT_EQ(claimed_ms, 7) << "the handler does not know how old the key is";
  EXPECT_EQ(status_of(ask("{\"other\":1}")), 409) << "the key stands for the first request";
}

TEST_F(KeysTest, ARefusalOfALaterRunDoesNotFreeTheKey) {
  remade = true;
  EXPECT_EQ(status_of(ask()), 201);
  status = 422;
  EXPECT_EQ(status_of(ask()), 422);
  EXPECT_EQ(ran, 2);
  const auto& key = *host.keys.begin()->second;
  EXPECT_FALSE(key.request_hash().empty()) << "the command could be applied once more";
  EXPECT_EQ(key.round(), 1u);
  status = 201;
  EXPECT_EQ(status_of(ask()), 201);
  EXPECT_EQ(rounds, (std::vector<std::uint32_t>{1, 1, 1}));
  EXPECT_EQ(status_of(ask("{\"other\":1}")), 409);
}

TEST_F(KeysTest, AFailureThatIsKnownFreesTheKeyAtALaterRunToo) {
  status = 503;
  EXPECT_EQ(status_of(ask()), 503);
  known = true;
  EXPECT_EQ(status_of(ask()), 503);
  status = 201;
  EXPECT_EQ(status_of(ask()), 201);
  EXPECT_EQ(rounds, (std::vector<std::uint32_t>{1, 1, 2}));
}

TEST_F(KeysTest, WhatCannotBeClaimedDoesNotRun) {
  host.refuses = Error{Code::kUnavailable, "the partition is away", {}};
  const auto first = ask();
  EXPECT_EQ(status_of(first), 503);
  EXPECT_EQ(ran, 0);
  host.refuses.reset();
  EXPECT_EQ(status_of(ask()), 201);
}

TEST_F(KeysTest, AHandlerThatForgetsToAnswerIsAFailure) {
  hold = true;
  const auto first = ask(), second = ask();
  held.clear();
  EXPECT_EQ(status_of(first), 500);
  EXPECT_EQ(status_of(second), 500);
}

}  // namespace
}  // namespace soma::runtime::api
