// Budgets: what may be used by whom within a window, exactly, at any concurrency.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "schemas/base/errors.h"
#include "soma/v1/tenant.pb.h"

namespace soma::actors {

inline constexpr int kMaxBudgetRules = 16;
inline constexpr std::int64_t kZoneAheadS =
    10LL * 366 * 86'400;                     // so far offsets of a zone are known
inline constexpr int kMaxCounters = 50'000;  // of one tenant

// kInvalidArgument names the rule's field ("body.budgets.0.unit").
Status check_budget_rules(const v1::TenantSettings& settings);

struct BudgetWindow {
  std::int64_t start_ms = 0;
  std::int64_t end_ms = 0;  // 0: never ends
};
// Whether both rules' zones have the same law where both know it: a zone's offsets are those from
// when the rule was put, for kZoneAheadS.
bool same_zone_law(const v1::BudgetRule& older, const v1::BudgetRule& newer);

// The window of the rule that holds `now_ms`, by its zone's offsets.
BudgetWindow window_of(const v1::BudgetRule& rule, std::int64_t now_ms);

// Micro-units that tokens cost at the settings' price, rounded up.
std::int64_t price_of(const v1::TenantSettings& settings, std::int64_t tokens);

// The key of TenantState.usage that counts a rule, of scope tenant or user.
std::string counter_name(const v1::BudgetRule& rule, const std::string& user);

// What a reservation would take part in. With `shortage` it must be refused.
struct BudgetWeighed {
  std::vector<v1::CountedUsage> counted;
  std::vector<v1::BudgetSoftLimitPassed> passed;
  std::optional<v1::BudgetShortage> shortage;
};
// `settings`: those in force. Rules of scope session are the session's own to weigh.
BudgetWeighed weigh_budget(const v1::TenantState& state, const v1::TenantSettings& settings,
                           const v1::ReserveBudget& command, std::int64_t now_ms);
// The first rule of scope session that has no room, for what the session has `used` so far.
std::optional<v1::BudgetShortage> session_shortage(const v1::TenantSettings& settings,
                                                   std::int64_t used_tokens,
                                                   std::int64_t used_requests,
                                                   std::int64_t wanted_tokens);

// No room for a counter that is not there yet, beside those whose window is not over.
std::optional<v1::BudgetShortage> counter_shortage(const v1::TenantState& state,
                                                   const std::vector<v1::CountedUsage>& wanted,
                                                   std::int64_t now_ms);

// What a counter holds of the window that begins at `start_ms`; nothing where it holds none of it.
std::optional<v1::UsageWindow> usage_in(const v1::TenantState& state, const std::string& counter,
                                        std::int64_t start_ms);

// Counters of a reservation: taken, then settled with what was used, or given back with nothing.
void take_counters(v1::TenantState& state, const v1::Reservation& reservation);
void settle_counters(v1::TenantState& state, const v1::Reservation& reservation,
                     std::int64_t used_tokens, std::int64_t used_money, bool happened);

// "the user budget of 1000 tokens a day has 12 left, 40 are needed; it resets at 2026-…Z".
std::string shortage_text(const v1::BudgetShortage& shortage);

}  // namespace soma::actors
