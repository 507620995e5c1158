// Tickets: one use, a short life, never longer than the token's, and bounded.
#include "runtime/security/tickets.h"

#include <gtest/gtest.h>

#include <set>

namespace soma::runtime::security {
namespace {

struct TicketsTest : testing::Test {
  std::int64_t now_ms = 1'000'000;
  Tickets tickets{[this] { return now_ms; }};
  static Identity who(const std::string& subject, std::int64_t expires_s = 0) {
    Identity identity;
    identity.principal.set_tenant("acme");
    identity.principal.set_subject(subject);
    identity.principal.add_capabilities("session:read");
    identity.token_id = "jti-" + subject;
    identity.expires_s = expires_s;
    identity.constitution_hash = "hash";
    return identity;
  }
};

TEST_F(TicketsTest, IsItsOwnersOnce) {
  const auto ticket = tickets.issue(who("ana"));
  tickets.issue(who("bob"));
  const auto caller = tickets.redeem(ticket);
  ASSERT_TRUE(caller);
  EXPECT_EQ(caller->principal.subject(), "ana");
  EXPECT_EQ(caller->principal.capabilities(0), "session:read") << "no more rights than the token";
  EXPECT_EQ(caller->token_id, "jti-ana") << "so that its revocation is seen";
  EXPECT_EQ(caller->constitution_hash, "hash");
  EXPECT_FALSE(tickets.redeem(ticket));
  EXPECT_FALSE(tickets.redeem(""));
  EXPECT_FALSE(tickets.redeem("guessed"));
}

TEST_F(TicketsTest, ARequestIsAnsweredAgainAndItsTicketStaysOfOneUse) {
  const auto ticket = tickets.issue(who("ana"), "acme:key");
  EXPECT_NE(tickets.issue(who("ana"), "acme:other"), ticket);
  EXPECT_EQ(tickets.again(who("ana"), "acme:key"), ticket);
  EXPECT_FALSE(tickets.again(who("bob"), "acme:key")) << "another caller's";
  EXPECT_FALSE(tickets.again(who("ana"), "acme:none"));
  EXPECT_TRUE(tickets.redeem(ticket));
  EXPECT_EQ(tickets.again(who("ana"), "acme:key"), ticket) << "the first answer, used or not";
  EXPECT_FALSE(tickets.redeem(ticket)) << "asking again does not revive it";
  now_ms += Tickets::kLifeMs;
  EXPECT_FALSE(tickets.again(who("ana"), "acme:key"));
  EXPECT_NE(Tickets([this] { return now_ms; }).issue(who("ana"), "acme:key"), ticket)
      << "nobody can make one from the request";
}

TEST_F(TicketsTest, LivesThirtySeconds) {
  const auto in_time = tickets.issue(who("ana")), late = tickets.issue(who("ana"));
  now_ms += Tickets::kLifeMs - 1;
  EXPECT_TRUE(tickets.redeem(in_time));
  now_ms += 1;
  EXPECT_FALSE(tickets.redeem(late));
}

TEST_F(TicketsTest, EndsWithTheTokenItStandsFor) {
  const auto ticket = tickets.issue(who("ana", now_ms / 1000 - kLeewaySeconds + 5));
  const auto other = tickets.issue(who("ana", now_ms / 1000 - kLeewaySeconds + 5));
  now_ms += 4999;
  EXPECT_TRUE(tickets.redeem(ticket));
  now_ms += 1;
  EXPECT_FALSE(tickets.redeem(other));
}

TEST_F(TicketsTest, TheOldestGoWhenThereAreTooMany) {
  const auto first = tickets.issue(who("ana")), second = tickets.issue(who("ana"));
  std::set<std::string> all{first, second};
  for (std::size_t i = 1; i < Tickets::kMaxTickets; ++i) all.insert(tickets.issue(who("bob")));
  EXPECT_EQ(all.size(), Tickets::kMaxTickets + 1) << "no two alike";
  EXPECT_FALSE(tickets.redeem(first));
  EXPECT_TRUE(tickets.redeem(second));
}

}  // namespace
}  // namespace soma::runtime::security
