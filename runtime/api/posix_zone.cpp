// A small recursive reader, and the calendar of the standard library.
#include "runtime/api/posix_zone.h"

#include <algorithm>
#include <chrono>

namespace soma::runtime::api {

namespace {

class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  std::optional<PosixZone> zone() {
    PosixZone out;
    if (!name()) return {};
    const auto west = time(24);
    if (!west) return {};
    out.standard_s = -*west;
    if (rest_.empty()) return out;
    if (!name()) return {};
    PosixZone::Summer summer;
    summer.offset_s = out.standard_s + 3600;
    if (!rest_.empty() && rest_.front() != ',') {
      const auto summer_west = time(24);
      if (!summer_west) return {};
      summer.offset_s = -*summer_west;
    }
    if (!date(summer.from) || !date(summer.until) || !rest_.empty()) return {};
    out.summer = summer;
    return out;
  }

 private:
  bool take(char c) {
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  // Three letters or more, or anything of letters, digits and signs in angle brackets.
  bool name() {
    const bool quoted = take('<');
    std::size_t n = 0;
    const auto fits = [&](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
             (quoted && ((c >= '0' && c <= '9') || c == '+' || c == '-'));
    };
    while (n < rest_.size() && fits(rest_[n])) ++n;
    rest_.remove_prefix(n);
    return n >= 3 && (!quoted || take('>'));
  }
  std::optional<int> number(int min, int max) {
    int out = 0;
    std::size_t n = 0;
    for (; n < rest_.size() && n < 4 && rest_[n] >= '0' && rest_[n] <= '9'; ++n)
      out = out * 10 + (rest_[n] - '0');
    if (n == 0 || out < min || out > max) return {};
    rest_.remove_prefix(n);
    return out;
  }
  // [+-]hh[:mm[:ss]], in seconds.
  std::optional<std::int32_t> time(int max_hours) {
    const int sign = take('-') ? -1 : 1;
    if (sign > 0) take('+');
    const auto hours = number(0, max_hours);
    if (!hours) return {};
    int seconds = *hours * 3600;
    for (const int unit : {60, 1}) {
      if (!take(':')) break;
      const auto part = number(0, 59);
      if (!part) return {};
      seconds += *part * unit;
    }
    return sign * seconds;
  }
  bool day(ZoneDate& out) {
    if (take('M')) {
      const auto month = number(1, 12);
      if (!month || !take('.')) return false;
      const auto week = number(1, 5);
      if (!week || !take('.')) return false;
      const auto weekday = number(0, 6);
      if (!weekday) return false;
      out = {ZoneDate::Kind::kMonthWeekDay, *month, *week, *weekday};
      return true;
    }
    const bool julian = take('J');
    const auto n = number(julian ? 1 : 0, 365);
    if (!n) return false;
    out.kind = julian ? ZoneDate::Kind::kJulian : ZoneDate::Kind::kDayOfYear;
    out.day = *n;
    return true;
  }
  bool date(ZoneDate& out) {
    if (!take(',') || !day(out)) return false;
    if (!take('/')) return true;
    const auto at = time(167);
    if (!at) return false;
    out.time_s = *at;
    return true;
  }

  std::string_view rest_;
};

// In seconds of the clock that holds before it, as if that were UTC.
std::int64_t local_seconds(const ZoneDate& date, int year) {
  using namespace std::chrono;
  sys_days day;
  if (date.kind == ZoneDate::Kind::kMonthWeekDay) {
    const auto month_of = std::chrono::year(year) / month(static_cast<unsigned>(date.month));
    const weekday wanted(static_cast<unsigned>(date.day));
    day = date.week == 5 ? sys_days(month_of / wanted[last])
                         : sys_days(month_of / wanted[static_cast<unsigned>(date.week)]);
  } else {
    int n = date.day;
    if (date.kind == ZoneDate::Kind::kJulian)
      n += std::chrono::year(year).is_leap() && date.day >= 60 ? 0 : -1;
    day = sys_days(std::chrono::year(year) / January / 1) + days(n);
  }
  return std::chrono::duration_cast<seconds>(day.time_since_epoch()).count() + date.time_s;
}

}  // namespace

std::optional<PosixZone> parse_posix_zone(std::string_view text) { return Reader(text).zone(); }

std::vector<std::pair<std::int64_t, std::int32_t>> changes_of(const PosixZone& zone, int year) {
  if (!zone.summer) return {};
  const auto& summer = *zone.summer;
  std::vector<std::pair<std::int64_t, std::int32_t>> out = {
      {local_seconds(summer.from, year) - zone.standard_s, summer.offset_s},
      {local_seconds(summer.until, year) - summer.offset_s, zone.standard_s}};
  std::ranges::sort(out);
  return out;
}

}  // namespace soma::runtime::api
