// Open streams end with the right to them, within a second.
#include "runtime/api/stream_guard.h"

#include "tests/unit/api/read_host.h"

namespace soma::runtime::api {
namespace {

struct Written final : http::EventStream {
  bool event(std::string_view, std::string_view name, std::string_view data) override {
    if (!is_open || bytes) return false;
    events.push_back(std::string(name) + " " + std::string(data));
    return true;
  }
  bool raw(std::string_view data) override { return event({}, "raw", data); }
  bool comment(std::string_view) override { return is_open; }
  void close() override { is_open = false; }
  void abort() override {
    is_open = false;
    aborted = true;
  }
  bool open() const override { return is_open; }
  std::size_t buffered() const override { return 0; }
  void on_disconnect(std::function<void()> callback) override { gone = std::move(callback); }
  void on_writable(std::function<void()>) override {}
  bool is_open = true, bytes = false, aborted = false;
  std::vector<std::string> events;
  std::function<void()> gone;
};

struct ToySink final : http::Responder::Sink {
  void send(http::Response) override { sent = true; }
  bool answered() const override { return sent; }
  std::shared_ptr<http::EventStream> stream(http::StreamHead) override { return written; }
  std::shared_ptr<Written> written = std::make_shared<Written>();
  bool sent = false;
};

struct StreamGuardTest : AdmissionTest {
  HandClock clock;
  Deadlines deadlines{clock};
  Node node;
  std::shared_ptr<ToySink> sink = std::make_shared<ToySink>();
  Written& written = *sink->written;
  int told = 0;

  StreamGuardTest() {
    node.host = &host;
    node.clock = &clock;
    node.deadlines = &deadlines;
  }
  std::shared_ptr<http::EventStream> open(const security::Identity& who) {
    auto out = guard_streams(node, admission, who, "authenticated", http::Responder(sink)).stream();
    out->on_disconnect([this] { ++told; });
    return out;
  }
};

TEST_F(StreamGuardTest, ARevokedTokensStreamEndsWithinASecondAndSaysWhy) {
  const auto out = open(caller("t"));
  clock.pass(60'000);
  EXPECT_TRUE(out->open());
  EXPECT_TRUE(out->event("1", "token", "x"));
  admission.follow(revoked("another", 2));
  clock.pass(1000);
  EXPECT_TRUE(out->open()) << "another's";
  admission.follow(revoked("t", 3));
  clock.pass(1000);
  EXPECT_FALSE(out->open());
  EXPECT_EQ(told, 1) << "who writes is told to stop";
  ASSERT_EQ(written.events.size(), 2u);
  EXPECT_EQ(written.events[1],
            R"(error {"error":{"code":"unauthenticated","message":"Invalid token"}})");
  clock.pass(5000);
  EXPECT_EQ(written.events.size(), 2u);
}

TEST_F(StreamGuardTest, AStreamOfBytesIsCutSoThatItDoesNotLookWhole) {
  written.bytes = true;
  const auto out = open(caller("t"));
  clock.pass(1000);
  ASSERT_TRUE(out->open());
  admission.follow(revoked("t", 2));
  clock.pass(1000);
  EXPECT_FALSE(out->open());
  EXPECT_TRUE(written.aborted);
  EXPECT_EQ(told, 1);
}

TEST_F(StreamGuardTest, ADeactivatedUsersStreamEnds) {
  const auto out = open(caller("t"));
  v1::IdentityEvent e;
  e.mutable_user_changed()->mutable_user()->set_user_id("ana");
  clock.pass(1000);
  admission.follow(frame(actors::identity_key("acme"), "user.changed", 2, e));
  clock.pass(1000);
  EXPECT_FALSE(out->open());
}

TEST_F(StreamGuardTest, AStreamEndsWithItsTokenAndItsLeeway) {
  auto who = caller("t");
  who.expires_s = clock.now / 1000 + 10;
  const auto out = open(who);
  clock.pass((10 + security::kLeewaySeconds) * 1000 - 500);
  EXPECT_TRUE(out->open());
  clock.pass(1500);
  EXPECT_FALSE(out->open());
  ASSERT_EQ(written.events.size(), 1u);
  EXPECT_NE(written.events[0].find("Token expired"), std::string::npos);
}

TEST_F(StreamGuardTest, WhereNobodyCanSayAnyMoreItEndsToo) {
  host.all = false;  // what was read ages
  admission.forget_after(std::chrono::milliseconds(0));
  const auto out = open(caller("t"));
  clock.pass(2000);
  EXPECT_TRUE(out->open());
  host.broken = Error{Code::kUnavailable, "the partition is away", {}};
  clock.pass(kUnseenMs / 2);
  EXPECT_TRUE(out->open()) << "a partition that moves";
  clock.pass(kUnseenMs + 500);
  EXPECT_FALSE(out->open());
}

TEST_F(StreamGuardTest, WhatWasClosedIsNotLookedAtAnyMore) {
  auto out = open(caller("t"));
  out->close();
  admission.follow(revoked("t", 2));
  clock.pass(2000);
  EXPECT_TRUE(written.events.empty());
  EXPECT_EQ(told, 0);
  out.reset();
  clock.pass(Deadlines::kGrainMs + 2);
  EXPECT_TRUE(clock.alarms.empty()) << "nothing is left behind";
}

TEST_F(StreamGuardTest, ADisconnectIsToldOnce) {
  const auto out = open(caller("t"));
  ASSERT_TRUE(written.gone);
  written.gone();
  admission.follow(revoked("t", 2));
  clock.pass(2000);
  EXPECT_EQ(told, 1);
}

}  // namespace
}  // namespace soma::runtime::api
