// The rule at the end of a TZif file: how a zone goes on after its table, as POSIX writes TZ.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace soma::runtime::api {

// A day of the year and a time of day (of the clock that holds before it).
struct ZoneDate {
  enum class Kind : std::uint8_t { kMonthWeekDay, kJulian, kDayOfYear };
  Kind kind = Kind::kMonthWeekDay;
  int month = 0, week = 0, day = 0;  // kJulian, kDayOfYear: `day` alone, from 1 without 29
                                     // February, from 0 with it
  std::int32_t time_s = 7200;
};

// Seconds east of UTC.
struct PosixZone {
  std::int32_t standard_s = 0;
  struct Summer {
    std::int32_t offset_s = 0;
    ZoneDate from, until;
  };
  std::optional<Summer> summer;
};

// "CET-1CEST,M3.5.0,M10.5.0/3" with the extensions of RFC 8536 (times from -167 to 167 hours).
// Nothing when it is no such text, also when it names summer time without saying when.
std::optional<PosixZone> parse_posix_zone(std::string_view text);

// The changes of a year (proleptic Gregorian, in UTC), in order: when, and the offset from then on.
std::vector<std::pair<std::int64_t, std::int32_t>> changes_of(const PosixZone& zone, int year);

}  // namespace soma::runtime::api
