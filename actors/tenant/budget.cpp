// Counters by rule, subject and window. A window that begins starts at nothing; the last ones
// before it are kept aside, so that a clock which is set back, or forth and back, finds what was
// counted.
#include "actors/tenant/budget.h"

#include <algorithm>
#include <bit>
#include <set>

#include "schemas/base/times.h"

namespace soma::actors {

namespace {

constexpr std::int64_t kDay = 86'400;  // seconds
constexpr std::int64_t kMaxLimit = 1'000'000'000'000'000;
constexpr int kPruneFrom = 256;  // counters; fewer are not worth looking through
constexpr int kKeptWindows = 3;  // of a counter, beside the one that counts
constexpr std::int64_t kSetBackMs =
    2LL * 86'400'000;  // how far a clock may jump without a counter being lost

bool one_of(const std::string& text, std::initializer_list<const char*> allowed) {
  return std::any_of(allowed.begin(), allowed.end(), [&](const char* a) { return text == a; });
}

std::int64_t offset_at(const v1::BudgetRule& rule, std::int64_t utc_s) {
  std::int64_t offset = rule.offsets_size() > 0 ? rule.offsets(0).offset_s() : 0;
  for (const auto& z : rule.offsets())
    if (z.from_s() <= utc_s) offset = z.offset_s();
  return offset;
}

// The instant of a local time. A time that the clock skips is that of the hour after.
std::int64_t to_utc(const v1::BudgetRule& rule, std::int64_t local_s) {
  const std::int64_t guess = local_s - offset_at(rule, local_s);
  const std::int64_t better = local_s - offset_at(rule, guess);
  return offset_at(rule, better) == offset_at(rule, guess) ? better : std::max(better, guess);
}

std::int64_t floor_div(std::int64_t a, std::int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

// Days since 1970-01-01 of the first of a month; months count on from year 0.
std::int64_t first_of_month(std::int64_t months) {
  std::int64_t y = floor_div(months, 12);
  const std::int64_t m = months - y * 12 + 1;
  y -= m <= 2;
  const std::int64_t era = floor_div(y, 400);
  const std::int64_t yoe = y - era * 400;
  const std::int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5;
  return era * 146'097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719'468;
}

std::int64_t month_of_day(std::int64_t day) {
  day += 719'468;
  const std::int64_t era = floor_div(day, 146'097);
  const std::int64_t doe = day - era * 146'097;
  const std::int64_t yoe = (doe - doe / 1460 + doe / 36'524 - doe / 146'096) / 365;
  const std::int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  const std::int64_t mp = (5 * doy + 2) / 153;
  const std::int64_t m = mp < 10 ? mp + 3 : mp - 9;
  return (yoe + era * 400 + (m <= 2 ? 1 : 0)) * 12 + m - 1;
}

std::int64_t amount_of(const v1::BudgetRule& rule, const v1::TenantSettings& settings,
                       std::int64_t tokens) {
  if (rule.unit() == "requests") return 1;
  return rule.unit() == "money" ? price_of(settings, tokens) : tokens;
}

v1::BudgetShortage shortage_of(const v1::BudgetRule& rule, std::int64_t taken, std::int64_t wanted,
                               std::int64_t resets_ms) {
  v1::BudgetShortage s;
  s.set_scope(rule.scope());
  s.set_unit(rule.unit());
  s.set_window(rule.window());
  s.set_limit(rule.hard());
  s.set_remaining(std::max<std::int64_t>(0, rule.hard() - taken));
  s.set_wanted(wanted);
  s.set_resets_ms(resets_ms);
  return s;
}

Status bad(int index, const char* field, const char* what) {
  const std::string path = "budgets." + std::to_string(index) + "." + field;
  return fail(Code::kInvalidArgument, path + " " + what, "body." + path);
}

template <typename Usage>
bool is_over(const Usage& usage, std::int64_t now_ms) {
  return usage.window_end_ms() > 0 && usage.window_end_ms() <= now_ms;
}

template <typename Counted>
bool all_known(const v1::TenantState& state, const Counted& counted) {
  return std::all_of(counted.begin(), counted.end(),
                     [&](const auto& c) { return state.usage().contains(c.counter()); });
}

// Each time their number has doubled, so that a reservation need not look through all of them.
bool is_time_to_prune(int counters) {
  return counters >= kMaxCounters ||
         (counters >= kPruneFrom && std::has_single_bit(static_cast<unsigned>(counters)));
}

v1::UsageWindow window_in(const v1::Usage& usage) {
  v1::UsageWindow w;
  w.set_start_ms(usage.window_start_ms());
  w.set_end_ms(usage.window_end_ms());
  w.set_used(usage.used());
  w.set_reserved(usage.reserved());
  w.set_soft_told(usage.soft_told());
  return w;
}

void put_window(v1::Usage& usage, const v1::UsageWindow& w) {
  usage.set_window_start_ms(w.start_ms());
  usage.set_window_end_ms(w.end_ms());
  usage.set_used(w.used());
  usage.set_reserved(w.reserved());
  usage.set_soft_told(w.soft_told());
}

// The window that begins at `start_ms` counts from here on; the one before is kept aside. Of those
// the earliest are dropped first.
void turn_to(v1::Usage& usage, std::int64_t start_ms, std::int64_t end_ms) {
  if (usage.window_start_ms() == start_ms) return;
  auto& others = *usage.mutable_others();
  v1::UsageWindow next;
  next.set_start_ms(start_ms);
  next.set_end_ms(end_ms);
  for (int i = 0; i < others.size(); ++i)
    if (others[i].start_ms() == start_ms) {
      next = others[i];
      others.DeleteSubrange(i, 1);
      break;
    }
  *others.Add() = window_in(usage);
  std::sort(others.begin(), others.end(),
            [](const auto& a, const auto& b) { return a.start_ms() > b.start_ms(); });
  if (others.size() > kKeptWindows)
    others.DeleteSubrange(kKeptWindows, others.size() - kKeptWindows);
  put_window(usage, next);
}

void prune(v1::TenantState& state, std::int64_t now_ms) {
  // Where there is room a counter outlives its window, as the clock may have jumped ahead.
  const std::int64_t before_ms = state.usage_size() >= kMaxCounters ? now_ms : now_ms - kSetBackMs;
  auto& usage = *state.mutable_usage();
  for (auto it = usage.begin(); it != usage.end();)
    it = is_over(it->second, before_ms) ? usage.erase(it) : std::next(it);
}

// What changes when, from `from_s` on; the first is what holds then.
std::vector<std::pair<std::int64_t, std::int32_t>> law(const v1::BudgetRule& rule,
                                                       std::int64_t from_s, std::int64_t until_s) {
  std::vector<std::pair<std::int64_t, std::int32_t>> out;
  for (const auto& z : rule.offsets()) {
    if (z.from_s() >= until_s) break;
    if (z.from_s() <= from_s) out.clear();
    if (out.empty() || out.back().second != z.offset_s())
      out.emplace_back(std::max(z.from_s(), from_s), z.offset_s());
  }
  return out;
}

}  // namespace

Status check_budget_rules(const v1::TenantSettings& settings) {
  if (settings.budgets_size() > kMaxBudgetRules)
    return fail(Code::kInvalidArgument, "budgets has at most 16 rules", "body.budgets");
  std::set<std::string> seen;
  for (int i = 0; i < settings.budgets_size(); ++i) {
    const auto& r = settings.budgets(i);
    if (!one_of(r.scope(), {"tenant", "user", "session"}))
      return bad(i, "scope", "must be tenant, user or session");
    if (!one_of(r.unit(), {"tokens", "requests", "money"}))
      return bad(i, "unit", "must be tokens, requests or money");
    if (r.unit() == "money" && settings.price_per_million_tokens() <= 0)
      return bad(i, "unit", "money needs price_per_million_tokens");
    if (!one_of(r.window(), {"hour", "day", "week", "month", "total"}))
      return bad(i, "window", "must be hour, day, week, month or total");
    if (r.scope() == "session" && r.window() != "total")
      return bad(i, "window", "must be total for a session");
    if (r.has_hard() && (r.hard() < 0 || r.hard() > kMaxLimit))
      return bad(i, "hard", "must be 0 to 1000000000000000");
    if (r.soft() < 0 || r.soft() > kMaxLimit)
      return bad(i, "soft", "must be 0 to 1000000000000000");
    if (!r.has_hard() && r.soft() == 0) return bad(i, "hard", "or soft must be given");
    if (r.scope() == "session" && !r.has_hard())
      return bad(i, "hard", "must be given for a session");
    if (!seen.insert(r.scope() + "/" + r.unit() + "/" + r.window() + "/" + r.timezone()).second)
      return bad(i, "window", "stands twice for the same scope, unit and timezone");
  }
  return {};
}

BudgetWindow window_of(const v1::BudgetRule& rule, std::int64_t now_ms) {
  if (rule.window() == "total") return {};
  const std::int64_t now_s = floor_div(now_ms, 1000);
  if (rule.window() == "hour") {
    const std::int64_t hour = floor_div(now_s, 3600);
    return {hour * 3'600'000, (hour + 1) * 3'600'000};
  }
  const std::int64_t day = floor_div(now_s + offset_at(rule, now_s), kDay);
  std::int64_t first = day, after = day + 1;
  if (rule.window() == "week") {
    first = floor_div(day + 3, 7) * 7 - 3;  // 1970-01-01 was a Thursday
    after = first + 7;
  } else if (rule.window() == "month") {
    first = first_of_month(month_of_day(day));
    after = first_of_month(month_of_day(day) + 1);
  }
  return {to_utc(rule, first * kDay) * 1000, to_utc(rule, after * kDay) * 1000};
}

std::int64_t price_of(const v1::TenantSettings& settings, std::int64_t tokens) {
  const auto wide = static_cast<__int128>(tokens) * settings.price_per_million_tokens();
  return static_cast<std::int64_t>((wide + 999'999) / 1'000'000);
}

std::string counter_name(const v1::BudgetRule& rule, const std::string& user) {
  return rule.scope() + "/" + rule.unit() + "/" + rule.window() + "/" + rule.timezone() + "/" +
         (rule.scope() == "user" ? user : std::string());
}

BudgetWeighed weigh_budget(const v1::TenantState& state, const v1::TenantSettings& settings,
                           const v1::ReserveBudget& command, std::int64_t now_ms) {
  BudgetWeighed out;
  for (const auto& rule : settings.budgets()) {
    if (rule.scope() == "session") continue;
    const BudgetWindow window = window_of(rule, now_ms);
    v1::CountedUsage c;
    c.set_counter(counter_name(rule, command.user()));
    c.set_unit(rule.unit());
    c.set_amount(amount_of(rule, settings, command.tokens()));
    c.set_window_start_ms(window.start_ms);
    c.set_window_end_ms(window.end_ms);
    std::int64_t taken = 0;
    bool told = false;
    if (const auto counted = usage_in(state, c.counter(), window.start_ms)) {
      taken = counted->used() + counted->reserved();
      told = counted->soft_told();
    }
    if (rule.has_hard() && taken + c.amount() > rule.hard()) {
      out.shortage = shortage_of(rule, taken, c.amount(), window.end_ms);
      return out;
    }
    if (rule.soft() > 0 && !told && taken + c.amount() > rule.soft()) {
      auto& p = out.passed.emplace_back();
      p.set_counter(c.counter());
      p.set_scope(rule.scope());
      p.set_unit(rule.unit());
      p.set_window(rule.window());
      p.set_soft(rule.soft());
      p.set_used(taken + c.amount());
      p.set_at_ms(now_ms);
    }
    out.counted.push_back(std::move(c));
  }
  return out;
}

std::optional<v1::BudgetShortage> session_shortage(const v1::TenantSettings& settings,
                                                   std::int64_t used_tokens,
                                                   std::int64_t used_requests,
                                                   std::int64_t wanted_tokens) {
  for (const auto& rule : settings.budgets()) {
    if (rule.scope() != "session") continue;
    const std::int64_t used =
        rule.unit() == "requests" ? used_requests : amount_of(rule, settings, used_tokens);
    const std::int64_t wanted = amount_of(rule, settings, wanted_tokens);
    if (used + wanted > rule.hard()) return shortage_of(rule, used, wanted, 0);
  }
  return {};
}

std::optional<v1::BudgetShortage> counter_shortage(const v1::TenantState& state,
                                                   const std::vector<v1::CountedUsage>& wanted,
                                                   std::int64_t now_ms) {
  if (state.usage_size() < kMaxCounters || all_known(state, wanted)) return {};
  const auto live = std::count_if(state.usage().begin(), state.usage().end(),
                                  [&](const auto& u) { return !is_over(u.second, now_ms); });
  if (live < kMaxCounters) return {};
  v1::BudgetShortage s;
  s.set_scope("tenant");
  s.set_unit("counters");
  s.set_window("total");
  s.set_limit(kMaxCounters);
  s.set_wanted(1);
  return s;
}

void take_counters(v1::TenantState& state, const v1::Reservation& reservation) {
  if (is_time_to_prune(state.usage_size()) && !all_known(state, reservation.counted()))
    prune(state, reservation.at_ms());
  for (const auto& c : reservation.counted()) {
    const bool known = state.usage().contains(c.counter());
    auto& usage = (*state.mutable_usage())[c.counter()];
    if (known) turn_to(usage, c.window_start_ms(), c.window_end_ms());
    usage.set_window_start_ms(c.window_start_ms());
    usage.set_window_end_ms(c.window_end_ms());
    usage.set_reserved(usage.reserved() + c.amount());
  }
}

std::optional<v1::UsageWindow> usage_in(const v1::TenantState& state, const std::string& counter,
                                        std::int64_t start_ms) {
  const auto it = state.usage().find(counter);
  if (it == state.usage().end()) return std::nullopt;
  if (it->second.window_start_ms() == start_ms) return window_in(it->second);
  for (const auto& other : it->second.others())
    if (other.start_ms() == start_ms) return other;
  return std::nullopt;
}

namespace {

// `usage`: the counter, or one of its windows aside.
template <typename Window>
void settle_window(Window& w, const v1::CountedUsage& c, std::int64_t used_tokens,
                   std::int64_t used_money, bool happened) {
  // Of a window that was dropped and begun anew nothing is reserved any more.
  w.set_reserved(std::max<std::int64_t>(0, w.reserved() - c.amount()));
  if (!happened) return;
  const std::int64_t used = c.unit() == "requests" ? 1
                            : c.unit() == "money"  ? used_money
                                                   : used_tokens;
  w.set_used(w.used() + used);
}

}  // namespace

void settle_counters(v1::TenantState& state, const v1::Reservation& reservation,
                     std::int64_t used_tokens, std::int64_t used_money, bool happened) {
  for (const auto& c : reservation.counted()) {
    const auto it = state.mutable_usage()->find(c.counter());
    if (it == state.mutable_usage()->end()) continue;
    if (it->second.window_start_ms() == c.window_start_ms()) {
      settle_window(it->second, c, used_tokens, used_money, happened);
      continue;
    }
    // Its window has passed: it counts there, for a clock that is set back.
    for (auto& other : *it->second.mutable_others())
      if (other.start_ms() == c.window_start_ms())
        settle_window(other, c, used_tokens, used_money, happened);
  }
}

bool same_zone_law(const v1::BudgetRule& older, const v1::BudgetRule& newer) {
  if (older.offsets().empty() || newer.offsets().empty())
    return older.offsets().empty() == newer.offsets().empty();
  const std::int64_t from = std::max(older.offsets(0).from_s(), newer.offsets(0).from_s());
  const std::int64_t until =
      std::min(older.offsets(0).from_s(), newer.offsets(0).from_s()) + kZoneAheadS;
  return from < until && law(older, from, until) == law(newer, from, until);
}

std::string shortage_text(const v1::BudgetShortage& s) {
  std::string out = "the " + s.scope() + "'s budget of " + std::to_string(s.limit()) + " " +
                    s.unit() + (s.window() == "total" ? " in all" : " a " + s.window()) + " has " +
                    std::to_string(s.remaining()) + " left and " + std::to_string(s.wanted()) +
                    " may be needed";
  if (s.resets_ms() == 0) return out + "; it does not reset by itself";
  return out + "; it resets at " + iso_time(s.resets_ms()).erase(19, 4);  // no milliseconds
}

}  // namespace soma::actors
