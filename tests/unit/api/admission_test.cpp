// Who comes in, when the actor is read, followed, or cannot be read; and how many requests.
#include <random>

#include "actors/tenant/tenant.h"
#include "runtime/api/rate_limiter.h"
#include "tests/unit/api/read_host.h"

namespace soma::runtime::api {
namespace {

TEST_F(AdmissionTest, WhatIsRecordedIsReadOnceAndThenFollowed) {
  (*identity->mutable_revoked())["old"].set_token_id("old");
  EXPECT_FALSE(admission.known(caller("old"))) << "nothing is known before it was read";
  EXPECT_EQ(check(caller("old")), "unauthenticated");
  EXPECT_EQ(check(caller("new")), "in");
  admission.follow(revoked("new", 2));
  EXPECT_EQ(check(caller("new")), "unauthenticated");
  host.broken = Error{Code::kUnavailable, "gone", {}};
  EXPECT_EQ(check(caller("third")), "in") << "known: nothing to read";
}

TEST_F(AdmissionTest, ADeactivatedUserIsOutUntilActiveAgain) {
  EXPECT_EQ(check(caller("t")), "in");
  v1::IdentityEvent e;
  e.mutable_user_changed()->mutable_user()->set_user_id("ana");
  admission.follow(frame(actors::identity_key("acme"), "user.changed", 2, e));
  EXPECT_EQ(check(caller("t")), "unauthenticated");
  e.mutable_user_changed()->mutable_user()->set_active(true);
  admission.follow(frame(actors::identity_key("acme"), "user.changed", 3, e));
  EXPECT_EQ(check(caller("t")), "in");
}

TEST_F(AdmissionTest, ATokenIsWorthNoMoreThanItsUserMayDoNow) {
  const auto left = [&](const std::vector<std::string>& token) {
    auto who = caller("t");
    who.principal.mutable_capabilities()->Assign(token.begin(), token.end());
    admission.narrow(who);
    return std::vector<std::string>(who.principal.capabilities().begin(),
                                    who.principal.capabilities().end());
  };
  EXPECT_EQ(left({"*"}), std::vector<std::string>{"*"}) << "nothing is known yet";
  auto& ana = (*identity->mutable_users())["ana"];
  ana.set_user_id("ana");
  ana.set_active(true);
  ana.add_capabilities("session:read");
  ana.add_capabilities("memory:*");
  EXPECT_EQ(check(caller("t")), "in");
  EXPECT_EQ(left({"*"}), (std::vector<std::string>{"memory:*", "session:read"}));
  EXPECT_EQ(left({"session:*", "memory:write", "slm:infer"}),
            (std::vector<std::string>{"memory:write", "session:read"}));
  v1::IdentityEvent e;
  e.mutable_user_changed()->mutable_user()->set_user_id("ana");
  e.mutable_user_changed()->mutable_user()->set_active(true);
  e.mutable_user_changed()->mutable_user()->add_capabilities("session:start");
  admission.follow(frame(actors::identity_key("acme"), "user.changed", 2, e));
  EXPECT_EQ(left({"session:*", "memory:write"}), std::vector<std::string>{"session:start"});
  e.mutable_user_changed()->mutable_user()->clear_capabilities();
  admission.follow(frame(actors::identity_key("acme"), "user.changed", 3, e));
  EXPECT_EQ(left({"*"}), std::vector<std::string>{"*"}) << "without a list nothing is said";
  auto stranger = caller("t");
  stranger.principal.set_subject("bob");
  stranger.principal.add_capabilities("slm:*");
  admission.narrow(stranger);
  EXPECT_EQ(stranger.principal.capabilities_size(), 1) << "who is not registered keeps its token's";
}

// A service is let in while it is registered and active, with no more than it may do now.
TEST_F(AdmissionTest, AServiceIsInWhileItIsRegisteredAndActive) {
  auto who = caller("t");
  who.principal.set_subject("svc:ci");
  who.principal.add_capabilities("slm:*");
  EXPECT_EQ(check(who), "unauthenticated") << "not registered";
  v1::IdentityEvent e;
  auto* service = e.mutable_service_changed()->mutable_service();
  service->set_service_id("ci");
  service->set_active(true);
  service->add_capabilities("slm:infer");
  const auto follow = [&](std::uint64_t sequence) {
    admission.follow(frame(actors::identity_key("acme"), "service.changed", sequence, e));
  };
  const auto left = [&] {
    auto narrowed = who;
    admission.narrow(narrowed);
    return std::vector<std::string>(narrowed.principal.capabilities().begin(),
                                    narrowed.principal.capabilities().end());
  };
  follow(2);
  EXPECT_EQ(check(who), "in");
  EXPECT_EQ(left(), std::vector<std::string>{"slm:infer"});
  service->clear_capabilities();
  follow(3);
  EXPECT_TRUE(left().empty()) << "of a service without a list nothing is left";
  service->set_active(false);
  follow(4);
  EXPECT_EQ(check(who), "unauthenticated");
  (*identity->mutable_services())["ci"] = *service;
  identity->mutable_services()->at("ci").set_active(true);
  Admission fresh(constitutions);
  std::string out;
  fresh.check(host, who, [&](Status s) { out = s ? "in" : "out"; });
  EXPECT_EQ(out, "in") << "also as it is read";
}

TEST_F(AdmissionTest, AnActorThatCannotBeReadLetsNobodyIn) {
  host.broken = Error{Code::kUnavailable, "the partition is away", {}};
  EXPECT_EQ(check(caller("t")), "unavailable");
  EXPECT_FALSE(admission.known(caller("t")));
  host.broken.reset();
  EXPECT_EQ(check(caller("t")), "in");
}

TEST_F(AdmissionTest, AFrameBetweenReadAndAnswerIsNotMissed) {
  host.hold = true;
  std::string out;
  admission.check(host, caller("t"), [&](Status s) { out = s ? "in" : "out"; });
  admission.follow(revoked("t", 2));  // the held read shows sequence 1
  host.hold = false;
  for (std::size_t i = 0; i < host.held.size(); ++i) host.held[i]();
  EXPECT_EQ(out, "out");
}

// One node of several hears of others' frames late: what it remembers is good for a while only.
TEST_F(AdmissionTest, WhereNotAllIsObservedItIsReadAgain) {
  host.all = false;
  EXPECT_EQ(check(caller("t")), "in");
  auto later = std::make_shared<v1::IdentityState>();
  (*later->mutable_revoked())["t"].set_token_id("t");
  host.states["identity"] = {later, 2};
  EXPECT_EQ(check(caller("t")), "in") << "within the while";
  admission.forget_after(std::chrono::milliseconds(0));
  EXPECT_EQ(check(caller("t")), "unauthenticated");
}

TEST_F(AdmissionTest, ATokenOfAnotherConstitutionIsStale) {
  auto who = caller("t");
  who.constitution_hash = "earlier";
  std::string message;
  admission.check(host, who, [&](Status s) { message = s ? "in" : s.error().message; });
  EXPECT_EQ(message, "Constitution hash mismatch") << "none is in force";
}

v1::RateLimit limit(std::int64_t requests, std::int64_t seconds) {
  v1::RateLimit l;
  l.set_requests(requests);
  l.set_seconds(seconds);
  return l;
}

// S5: in any window as long as the limit's, at most the limit; over many, within 5 % of it.
TEST(RateWindow, NeverMoreThanTheLimitAndHardlyLess) {
  for (const auto& [requests, seconds] :
       {std::pair(100, 1), std::pair(1000, 60), std::pair(7, 10)}) {
    RateWindow window;
    std::vector<std::int64_t> taken;
    std::mt19937 random(static_cast<unsigned>(requests));
    std::int64_t now = 1'700'000'000'123;
    const std::int64_t began = now, length = seconds * 1000;
    while (now < began + 20 * length) {
      if (window.take(limit(requests, seconds), now) == 0) taken.push_back(now);
      now += static_cast<std::int64_t>(
          random() % static_cast<unsigned>(std::max<std::int64_t>(2, length / requests / 8)));
    }
    for (std::size_t i = 0; i + static_cast<std::size_t>(requests) < taken.size(); ++i)
      ASSERT_GE(taken[i + static_cast<std::size_t>(requests)] - taken[i], length);
    EXPECT_NEAR(static_cast<double>(taken.size()), 20.0 * requests, 0.05 * 20 * requests);
  }
}

TEST(RateWindow, SaysHowLongToWait) {
  RateWindow window;
  const auto one = limit(1, 60);
  EXPECT_EQ(window.take(one, 60'000'500), 0);
  const auto wait = window.take(one, 60'000'600);
  EXPECT_GE(wait, 59'900);
  EXPECT_LE(wait, 61'020);
  EXPECT_GT(window.take(one, 60'000'600 + wait - 1), 0);
  EXPECT_EQ(window.take(one, 60'000'600 + wait), 0);
  EXPECT_EQ(window.take(limit(0, 0), 1), 0) << "no limit";
}

TEST(RateLimiter, FollowsTheSettingsAndKeepsUsersApart) {
  ReadHost host;
  auto state = std::make_shared<v1::TenantState>();
  host.states["tenant"] = {state, 0};
  RateLimiter rates;
  const auto check = [&](const std::string& user) {
    bool in = false;
    rates.check(host, "acme", user, 1'000'000, [&](Status s) { in = s.has_value(); });
    return in;
  };
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(check("ana"));
  v1::TenantEvent e;
  auto* s = e.mutable_settings_changed()->mutable_settings();
  s->set_version(1);
  *s->mutable_rate_limits()->mutable_user() = limit(2, 60);
  rates.follow(frame(actors::tenant_key("acme"), "settings.changed", 1, e));
  EXPECT_TRUE(check("ana"));
  EXPECT_TRUE(check("ana"));
  EXPECT_FALSE(check("ana"));
  EXPECT_TRUE(check("bob"));
  *s->mutable_rate_limits()->mutable_tenant() = limit(1, 60);
  s->set_version(2);
  rates.follow(frame(actors::tenant_key("acme"), "settings.changed", 2, e));
  EXPECT_TRUE(check("carl"));
  EXPECT_FALSE(check("dora"));
}

TEST(RateLimiter, LimitsThatCannotBeReadLetNobodyIn) {
  ReadHost host;
  host.broken = Error{Code::kUnavailable, "away", {}};
  RateLimiter rates;
  bool in = true;
  rates.check(host, "acme", "ana", 1, [&](Status s) { in = s.has_value(); });
  EXPECT_FALSE(in);
}

}  // namespace
}  // namespace soma::runtime::api
