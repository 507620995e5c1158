// Every way in which an upstream can fail is a typed error, told once; none is an answer.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/effects/fixture.h"

namespace soma::test {
namespace {

struct Case {
  const char* name;
  const char* script;
  Code code;
  int tokens;  // that may be seen before
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class Misbehaviour : public SlmTest, public ::testing::WithParamInterface<Case> {};

TEST_P(Misbehaviour, IsATypedErrorToldOnce) {
  const Case& c = GetParam();
  auto script = parse_script(c.script);
  ASSERT_TRUE(script) << script.error().message << " " << script.error().field;
  upstream->set(std::move(*script));
  endpoint.idle_timeout_ms = 150;
  endpoint.max_answer_bytes = 1000;
  auto call = chat(request("c"));
  auto answer = call->wait();
  ASSERT_FALSE(answer) << "counted as an answer: " << answer->output();
  EXPECT_EQ(code_name(answer.error().code), code_name(c.code)) << answer.error().message;
  EXPECT_FALSE(answer.error().message.empty());
  EXPECT_EQ(call->tokens.size(), static_cast<std::size_t>(c.tokens));
  // The client is none the worse for it.
  upstream->set({});
  EXPECT_TRUE(chat(request("next"))->wait());
  EXPECT_EQ(call->outcomes, 1);
}

INSTANTIATE_TEST_SUITE_P(
    All, Misbehaviour,
    ::testing::Values(
        Case{"server_error", R"({"status": 500, "text": "broken"})", Code::kModelUnavailable, 0},
        Case{"unavailable", R"({"status": 503})", Code::kModelUnavailable, 0},
        Case{"rate_limited", R"({"status": 429, "retry_after_s": 3, "text": "slow down"})",
             Code::kRateLimited, 0},
        Case{"bad_request", R"({"status": 400, "text": "context too long"})",
             Code::kInvalidArgument, 0},
        Case{"unauthorized", R"({"status": 401, "text": "bad key sk-123"})", Code::kInvalidArgument,
             0},
        Case{"not_found", R"({"status": 404})", Code::kInvalidArgument, 0},
        Case{"request_timeout", R"({"status": 408})", Code::kModelUnavailable, 0},
        Case{"redirect", R"({"status": 302})", Code::kInvalidArgument, 0},
        Case{"cut_before_tokens", R"({"cut_after": 0})", Code::kModelUnavailable, 0},
        Case{"cut_in_the_middle", R"({"cut_after": 2})", Code::kModelUnavailable, 2},
        Case{"cut_after_all_tokens", R"({"cut_after": 5})", Code::kModelUnavailable, 5},
        Case{"stall", R"({"stall_after": 2})", Code::kModelUnavailable, 2},
        Case{"slow_to_begin", R"({"delay_ms": 2000})", Code::kModelUnavailable, 0},
        Case{"no_done", R"({"done": false})", Code::kModelUnavailable, 5},
        Case{"no_finish_reason", R"({"finish_reason": ""})", Code::kModelUnavailable, 5},
        Case{"malformed_frame", R"({"malformed_after": 3})", Code::kModelUnavailable, 3},
        Case{"error_in_stream", R"({"error_after": 1})", Code::kModelUnavailable, 1},
        Case{"text_after_the_end", R"({"late_text": 1})", Code::kModelUnavailable, 5},
        Case{"not_a_stream", R"({"streams": false})", Code::kModelUnavailable, 0}),
    [](const auto& info) { return info.param.name; });

TEST_F(SlmTest, RetryAfterIsPassedOn) {
  auto script = parse_script(R"({"status": 429, "retry_after_s": 3, "text": "slow down"})");
  upstream->set(*script);
  auto answer = chat(request("c"))->wait();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().retry_after_ms, 3000);
  EXPECT_NE(answer.error().message.find("slow down"), std::string::npos);
}

TEST_F(SlmTest, TheServersWordsAboutAKeyAreNotRepeated) {
  upstream->set(*parse_script(R"({"status": 401, "text": "bad key sk-123"})"));
  auto answer = chat(request("c"))->wait();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().message.find("sk-123"), std::string::npos);
}

TEST_F(SlmTest, AnAnswerOverTheLimitIsRefused) {
  endpoint.max_answer_bytes = 10;
  auto answer = chat(request("c"))->wait();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Code::kTooLarge);
}

TEST_F(SlmTest, NobodyListens) {
  // A port that was ours a moment ago: bound, never listened on, closed.
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof a;
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&a), size), 0);
  ASSERT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&a), &size), 0);
  endpoint.base_url = "http://127.0.0.1:" + std::to_string(ntohs(a.sin_port)) + "/v1";
  auto answer = chat(request("c"))->wait();
  ::close(fd);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Code::kUnavailable);
}

TEST_F(SlmTest, OnlyHttpIsSpoken) {
  endpoint.base_url = "file:///etc";
  auto answer = chat(request("c"))->wait();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Code::kModelUnavailable);
}

TEST_F(SlmTest, TheRequestsOwnDeadlineHoldsWhileItRunsAndWhileItWaits) {
  using namespace std::chrono;
  endpoint.max_concurrent = 1;
  Behaviour b;
  b.stall_after = 1;
  upstream->otherwise(b);
  auto r = request("c");
  r.set_deadline_ms(duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count() +
                    150);
  auto running = chat(r), waiting = chat(r);
  for (auto& c : {running, waiting}) {
    auto answer = c->wait();
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, Code::kDeadlineExceeded) << answer.error().message;
  }
}

TEST_F(SlmTest, DroppedIdleConnectionsDoNotCostACall) {
  ASSERT_TRUE(chat(request("first"))->wait());
  upstream->drop_connections();
  EXPECT_TRUE(chat(request("second"))->wait());
}

TEST_F(SlmTest, BadEmbeddingsAreTypedErrors) {
  endpoint.idle_timeout_ms = 150;
  for (const char* script : {R"({"status": 500})", R"({"malformed_after": 0})",
                             R"({"stall_after": 0})", R"({"cut_after": 0})"}) {
    upstream->set(*parse_script(script));
    auto r = embed({"a", "b"});
    ASSERT_FALSE(r) << script;
    EXPECT_EQ(r.error().code, Code::kModelUnavailable) << script << r.error().message;
  }
}

TEST_F(SlmTest, AKeyThatTheServerRepeatsIsNotPassedOn) {
  endpoint.api_key = "sk-secret-0123456789abcdef";
  for (int status : {400, 500}) {
    Behaviour b;
    b.status = status;
    b.text = "Bad key sk-secret-0123456789abcdef, ends in 89abcdef; key of account 17";
    upstream->otherwise(b);
    const auto answer = chat(request("call-" + std::to_string(status)))->wait();
    ASSERT_FALSE(answer.has_value());
    EXPECT_NE(answer.error().message.find("Bad key ***, ends in ***; key of account 17"),
              std::string::npos)
        << answer.error().message;
  }
}

}  // namespace
}  // namespace soma::test
