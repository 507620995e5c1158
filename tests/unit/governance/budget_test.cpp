// Budgets by scope, unit and window: never exceeded, at any interleaving.
#include "actors/tenant/budget.h"

#include <random>

#include "actors/tenant/tenant.h"
#include "tests/unit/actors/given.h"

namespace soma::actors {
namespace {

using Tenant = Given<TenantDecider>;
const ActorKey kTenant = tenant_key("acme");

std::string put(const std::string& rules) {
  return "put_settings { settings { deployment_mode: 'test' budgets_tokens: 1000000 "
         "price_per_million_tokens: 2000000 " +
         rules + " } }";
}
std::string rule(const std::string& scope, const std::string& unit, const std::string& window,
                 int hard, const std::string& more = "") {
  return "budgets { scope: '" + scope + "' unit: '" + unit + "' window: '" + window +
         "' hard: " + std::to_string(hard) + " " + more + " }";
}
std::string reserve(const std::string& id, int tokens, const std::string& user = "ana") {
  return "reserve_budget { reservation_id: '" + id + "' tokens: " + std::to_string(tokens) +
         " user: '" + user + "' holder { tenant: 'acme' type: 'session' id: 's' } }";
}

const v1::BudgetShortage& shortage(const Tenant& tenant) {
  return tenant.event(0).budget_refused().shortage();
}

TEST(Budget, AChangeOfLawIsAChangeOfTheSameSettings) {
  Given<TenantDecider> tenant(tenant_key("acme"));
  const auto put = [](std::int64_t now_s, std::int64_t summer_s, int summer) {
    return "put_settings { settings { deployment_mode: 'test' budgets_tokens: 9 budgets { scope: "
           "'tenant' unit: 'tokens' hard: 5 window: 'day' timezone: 'Europe/Berlin' offsets { "
           "from_s: " +
           std::to_string(now_s) +
           " offset_s: 3600 } offsets { from_s: " + std::to_string(summer_s) +
           " offset_s: " + std::to_string(summer) + " } } } }";
  };
  tenant.when(put(100, 5000, 7200)).then({"settings.changed"});
  const std::string hash = tenant.state().settings().hash();
  tenant.when(put(200, 5000, 7200)).then({});  // the same law, known from a later day on
  tenant.when(put(300, 6000, 7200)).then({"settings.changed"});
  EXPECT_EQ(tenant.state().settings().version(), 2U);
  EXPECT_EQ(tenant.state().settings().budgets(0).offsets(1).from_s(), 6000);
  EXPECT_EQ(tenant.state().settings().hash(), hash) << "of what the caller put";
  tenant.when(put(400, 6000, 3600)).then({"settings.changed"});  // summer time is abolished
  tenant.when(put(500, 6000, 3600)).then({});
}

TEST(Budget, EachUserHasItsOwn) {
  Tenant tenant(kTenant);
  tenant.when(put(rule("user", "tokens", "total", 100))).then({"settings.changed"});
  tenant.when(reserve("a", 80, "ana")).then({"budget.reserved"});
  tenant.when(reserve("b", 80, "bob")).then({"budget.reserved"});
  tenant.when(reserve("c", 21, "ana")).then({"budget.refused"});
  EXPECT_EQ(shortage(tenant).remaining(), 20);
  EXPECT_EQ(shortage(tenant).scope(), "user");
  tenant.when("settle_budget { reservation_id: 'a' used_tokens: 10 }").then({"budget.settled"});
  tenant.when(reserve("d", 90, "ana")).then({"budget.reserved"});
}

TEST(Budget, WithoutRoomForACounterATurnIsDeniedAndNotLeftWaiting) {
  Tenant tenant(kTenant);
  tenant.when(put(rule("user", "tokens", "hour", 100))).then({"settings.changed"});
  for (int i = 0; i < kMaxCounters; ++i)
    tenant.after(message<v1::TenantEvent>(
        "budget_reserved { reservation { reservation_id: 'r' tokens: 1 at_ms: 1000 counted { "
        "counter: 'user/tokens/hour//" +
        std::to_string(i) + "' amount: 1 window_end_ms: 3600000 } } }"));
  tenant.when(reserve("a", 1, "new")).then({"budget.refused"});
  EXPECT_EQ(shortage(tenant).unit(), "counters");
  ASSERT_EQ(tenant.sends().size(), 1u) << "who waits is told";
  tenant.at(3'600'000).when(reserve("b", 1, "new")).then({"budget.reserved"});
  EXPECT_EQ(tenant.state().usage_size(), 1) << "counters of the hour before are gone";
}

TEST(Budget, WhatIsReleasedCountsForNothing) {
  Tenant tenant(kTenant);
  tenant.when(put(rule("tenant", "requests", "total", 1))).then({"settings.changed"});
  tenant.when(reserve("a", 1)).then({"budget.reserved"});
  tenant.when(reserve("b", 1)).then({"budget.refused"});
  tenant.when("release_budget { reservation_id: 'a' }").then({"budget.released"});
  tenant.when(reserve("c", 1)).then({"budget.reserved"});
  tenant.when("settle_budget { reservation_id: 'c' used_tokens: 0 }").then({"budget.settled"});
  tenant.when(reserve("d", 1)).then({"budget.refused"});
}

TEST(Budget, MoneyIsTokensAtTheirPrice) {
  Tenant tenant(kTenant);  // two micro-units a token
  tenant.when(put(rule("tenant", "money", "total", 100))).then({"settings.changed"});
  tenant.when(reserve("a", 51)).then({"budget.refused"});
  tenant.when(reserve("b", 50)).then({"budget.reserved"});
  tenant
      .when("put_settings { settings { deployment_mode: 'test' " +
            rule("tenant", "money", "total", 10) + " } }")
      .refused(Code::kInvalidArgument, "body.budgets.0.unit");
}

TEST(Budget, AWindowEndsAndBeginsAnew) {
  Tenant tenant(kTenant);
  tenant.at(3'599'999).when(put(rule("tenant", "tokens", "hour", 10))).then({"settings.changed"});
  tenant.when(reserve("a", 10)).then({"budget.reserved"});
  tenant.when(reserve("b", 1)).then({"budget.refused"});
  EXPECT_EQ(shortage(tenant).resets_ms(), 3'600'000);
  tenant.at(3'600'000).when(reserve("c", 10)).then({"budget.reserved"});
  // The call of the earlier hour ends now: it is of no account in this one.
  tenant.when("settle_budget { reservation_id: 'a' used_tokens: 10 }").then({"budget.settled"});
  tenant.when(reserve("d", 1)).then({"budget.refused"});
  tenant.at(7'200'000).when(reserve("e", 10)).then({"budget.reserved"});
}

constexpr std::int64_t kHour = 3'600'000, kDay = 24 * kHour;

TEST(Budget, AClockThatIsSetBackDoesNotOpenAWindowAgain) {
  for (const std::string window : {"hour", "day", "week", "month"}) {
    Tenant tenant(kTenant);
    // Some moment in a window, and the first of the window after it.
    const std::int64_t before = 40 * kDay - 1, after = before + 33 * kDay;
    tenant.at(before).when(put(rule("tenant", "tokens", window, 10))).then({"settings.changed"});
    tenant.when(reserve("a", 6)).then({"budget.reserved"});
    tenant.when("settle_budget { reservation_id: 'a' used_tokens: 6 }").then({"budget.settled"});
    tenant.at(after).when(reserve("b", 10)).then({"budget.reserved"});
    tenant.at(before).when(reserve("c", 5)).then({"budget.refused"});  // set back
    EXPECT_EQ(shortage(tenant).remaining(), 4) << window;
    tenant.when(reserve("c", 4)).then({"budget.reserved"});
    tenant.when(reserve("x", 1)).then({"budget.refused"});
    tenant.at(after).when(reserve("d", 1)).then({"budget.refused"});  // and forth
    tenant.when("settle_budget { reservation_id: 'b' used_tokens: 4 }").then({"budget.settled"});
    tenant.when(reserve("e", 7)).then({"budget.refused"});
    tenant.when(reserve("f", 6)).then({"budget.reserved"});
  }
}

TEST(Budget, AJumpAheadAndBackLosesNoCounter) {
  Tenant tenant(kTenant);
  tenant.at(100 * kDay).when(put(rule("user", "tokens", "hour", 10))).then({"settings.changed"});
  tenant.when(reserve("a", 10, "ana")).then({"budget.reserved"});
  tenant.at(101 * kDay);
  for (int i = 0; i < 600; ++i)  // enough that old counters are looked through
    tenant.when(reserve("u" + std::to_string(i), 1, std::to_string(i))).then({"budget.reserved"});
  tenant.at(100 * kDay).when(reserve("b", 1, "ana")).then({"budget.refused"});
}

TEST(Budget, OfEarlierWindowsTheLastFewAreKept) {
  Tenant tenant(kTenant);
  tenant.at(0).when(put(rule("tenant", "tokens", "hour", 10))).then({"settings.changed"});
  for (int hour = 0; hour < 50; ++hour)
    tenant.at(hour * kHour).when(reserve(std::to_string(hour), 10)).then({"budget.reserved"});
  const auto& usage = tenant.state().usage().begin()->second;
  EXPECT_EQ(usage.others_size(), 3);
  tenant.at(47 * kHour).when(reserve("again", 1)).then({"budget.refused"});
  tenant.at(49 * kHour).when(reserve("now", 1)).then({"budget.refused"});
  tenant.at(50 * kHour).when(reserve("next", 10)).then({"budget.reserved"});
}

// A window that was dropped with something reserved, and begun anew by a clock that was set back.
TEST(Budget, WhatIsGivenBackToAWindowThatWasDroppedMakesNoRoom) {
  Tenant tenant(kTenant);
  tenant.at(0).when(put(rule("tenant", "tokens", "hour", 10))).then({"settings.changed"});
  for (int hour = 0; hour < 5; ++hour)
    tenant.at(hour * kHour).when(reserve(std::to_string(hour), 10)).then({"budget.reserved"});
  tenant.at(0).when(reserve("anew", 1)).then({"budget.reserved"});
  tenant.when("release_budget { reservation_id: '0' }").then({"budget.released"});
  tenant.when(reserve("more", 11)).then({"budget.refused"});
  EXPECT_EQ(tenant.state().usage().begin()->second.reserved(), 0);
}

TEST(Budget, ASoftLimitIsToldOnceAWindow) {
  Tenant tenant(kTenant);
  tenant.at(1)
      .when(put(rule("tenant", "tokens", "hour", 100, "soft: 10")))
      .then({"settings.changed"});
  tenant.when(reserve("a", 10)).then({"budget.reserved"});
  tenant.when(reserve("b", 1)).then({"budget.reserved", "budget.soft_limit_passed"});
  tenant.when(reserve("c", 1)).then({"budget.reserved"});
  tenant.at(3'600'001).when(reserve("d", 11)).then({"budget.reserved", "budget.soft_limit_passed"});
}

TEST(Budget, RulesThatCannotBeMeantNameTheirField) {
  Tenant tenant(kTenant);
  const auto refused = [&](const std::string& rules, const std::string& field) {
    tenant.when(put(rules)).refused(Code::kInvalidArgument, field);
  };
  refused(rule("planet", "tokens", "day", 1), "body.budgets.0.scope");
  refused(rule("user", "words", "day", 1), "body.budgets.0.unit");
  refused(rule("user", "tokens", "year", 1), "body.budgets.0.window");
  refused(rule("session", "tokens", "day", 1), "body.budgets.0.window");
  refused(rule("user", "tokens", "day", -1), "body.budgets.0.hard");
  refused("budgets { scope: 'user' unit: 'tokens' window: 'day' }", "body.budgets.0.hard");
  refused(rule("user", "tokens", "day", 1) + rule("user", "tokens", "day", 2),
          "body.budgets.1.window");
}

// Berlin in 2026: summer time from 29 March 01:00 UTC to 25 October 01:00 UTC.
v1::BudgetRule berlin(const std::string& window) {
  return message<v1::BudgetRule>("window: '" + window +
                                 "' offsets { from_s: 0 offset_s: 3600 } offsets { from_s: "
                                 "1774746000 offset_s: 7200 } offsets { from_s: 1792890000 "
                                 "offset_s: 3600 }");
}

TEST(Budget, DaysWeeksAndMonthsAreThoseOfTheZone) {
  const std::int64_t hour = 3'600'000;
  const std::int64_t noon = 1'774'785'600'000;  // 2026-03-29 12:00 UTC, a Sunday of 23 hours
  const auto day = window_of(berlin("day"), noon);
  EXPECT_EQ(day.start_ms, 1'774'738'800'000);  // 2026-03-28 23:00 UTC
  EXPECT_EQ(day.end_ms - day.start_ms, 23 * hour);
  const auto week = window_of(berlin("week"), noon);
  EXPECT_EQ(week.end_ms, day.end_ms);
  EXPECT_EQ(week.end_ms - week.start_ms, (7 * 24 - 1) * hour);
  const auto month = window_of(berlin("month"), noon);
  EXPECT_EQ(month.start_ms, 1'772'319'600'000);                     // 2026-02-28 23:00 UTC
  EXPECT_EQ(month.end_ms, 1'774'994'400'000);                       // 2026-03-31 22:00 UTC
  const auto autumn = window_of(berlin("day"), 1'792'929'600'000);  // 2026-10-25 12:00 UTC
  EXPECT_EQ(autumn.end_ms - autumn.start_ms, 25 * hour);
}

TEST(Budget, ASessionHasItsOwnInAll) {
  v1::TenantSettings s;
  *s.add_budgets() =
      message<v1::BudgetRule>("scope: 'session' unit: 'requests' window: 'total' hard: 2");
  EXPECT_FALSE(session_shortage(s, 0, 1, 10));
  ASSERT_TRUE(session_shortage(s, 0, 2, 10));
  s.mutable_budgets(0)->set_unit("tokens");
  s.mutable_budgets(0)->set_hard(100);
  EXPECT_FALSE(session_shortage(s, 90, 5, 10));
  EXPECT_EQ(session_shortage(s, 91, 5, 10)->remaining(), 9);
}

// Any interleaving of calls: within each window what is reserved and used never passes the limit,
// but by what calls used beyond their own reservations.
TEST(Budget, PropertyNeverExceeded) {
  for (unsigned seed = 1; seed <= 50; ++seed) {
    std::mt19937 random(seed);
    const auto below = [&](unsigned n) { return static_cast<int>(random() % n); };
    Tenant tenant(kTenant);
    std::int64_t now = 1000;
    tenant.at(now).when(put(rule("user", "tokens", "hour", 500) +
                            rule("tenant", "requests", "hour", 8) +
                            rule("tenant", "money", "total", 6000)));
    std::map<std::string, int> open;  // reservation to tokens
    std::int64_t money = 0;
    for (int i = 0; i < 200; ++i) {
      now += below(600'000);
      tenant.at(now);
      if (open.empty() || below(2) == 0) {
        const std::string id = "r" + std::to_string(i);
        const int tokens = 1 + below(200);
        tenant.when(reserve(id, tokens, below(2) ? "ana" : "bob"));
        if (tenant.event(0).has_budget_reserved()) open[id] = tokens;
      } else {
        const auto it = std::next(open.begin(), below(static_cast<unsigned>(open.size())));
        if (below(4) == 0) {
          tenant.when("release_budget { reservation_id: '" + it->first + "' }");
        } else {
          const int used = below(static_cast<unsigned>(it->second) + 1);
          money += 2 * used;
          tenant.when("settle_budget { reservation_id: '" + it->first +
                      "' used_tokens: " + std::to_string(used) + " }");
        }
        open.erase(it);
      }
      std::int64_t held = 0;
      for (const auto& [id, tokens] : open) held += 2 * tokens;
      ASSERT_LE(money + held, 6000) << "seed " << seed;
      for (const auto& [name, usage] : tenant.state().usage()) {
        const std::int64_t limit = name.starts_with("user/tokens")       ? 500
                                   : name.starts_with("tenant/requests") ? 8
                                                                         : 6000;
        ASSERT_LE(usage.used() + usage.reserved(), limit) << name << " seed " << seed;
        ASSERT_GE(usage.reserved(), 0) << name << " seed " << seed;
      }
    }
  }
}

TEST(Settings, HistoryIsKeptAndRolledBackTo) {
  Tenant tenant(kTenant);
  const auto named = [](const char* name) {
    return "put_settings { settings { deployment_mode: 'test' display_name: '" + std::string(name) +
           "' } }";
  };
  tenant.when(named("one")).then({"settings.changed"});
  tenant.when(named("two")).then({"settings.changed"});
  tenant.when("roll_back_settings { version: 1 }").then({"settings.changed"});
  EXPECT_EQ(tenant.state().settings().display_name(), "one");
  EXPECT_EQ(tenant.state().settings().version(), 3u);
  EXPECT_EQ(tenant.state().history_size(), 3);
  tenant.when("roll_back_settings { version: 3 }").then({});
  tenant.when("roll_back_settings { version: 9 }").refused(Code::kInvalidArgument, "body.version");
  tenant.when("roll_back_settings { version: 2 expected_tags: 'x' }")
      .refused(Code::kVersionMismatch);
  for (int i = 0; i < 60; ++i) tenant.when(named(std::to_string(i).c_str()));
  EXPECT_EQ(tenant.state().history_size(), 50);
}

TEST(Settings, WeightsAreNumbersFromZeroToOne) {
  Tenant tenant(kTenant);
  tenant.when("put_settings { settings { deployment_mode: 'test' policy { threshold: 1.5 } } }")
      .refused(Code::kInvalidArgument, "body.policy.threshold");
  tenant
      .when(
          "put_settings { settings { deployment_mode: 'test' policy { threshold: 0.7 "
          "production_threshold: 0.5 } } }")
      .refused(Code::kInvalidArgument, "body.policy.production_threshold");
  tenant.when("put_settings { settings { deployment_mode: 'test' policy { threshold: 0.3 } } }")
      .then({"settings.changed"});
}

}  // namespace
}  // namespace soma::actors
