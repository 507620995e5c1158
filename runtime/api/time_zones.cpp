// Reads TZif files (RFC 8536): the 64-bit table, then the rule that goes on behind it. A "fat"
// table goes to 2037; a "slim" one ends with the last change of law.
#include "runtime/api/time_zones.h"

#include <chrono>
#include <cstring>
#include <fstream>
#include <iterator>

#include "actors/tenant/budget.h"
#include "runtime/api/posix_zone.h"

namespace soma::runtime::api {

namespace {

constexpr std::size_t kMaxFile = 64 * 1024;

// Big-endian.
std::int64_t number(const std::string& bytes, std::size_t at, std::size_t size) {
  std::uint64_t out = 0;
  for (std::size_t i = 0; i < size; ++i) out = out << 8 | static_cast<unsigned char>(bytes[at + i]);
  return size == 4 ? static_cast<std::int32_t>(out) : static_cast<std::int64_t>(out);
}

struct Header {
  std::size_t isut, isstd, leap, time, type, chars;
  std::size_t body(std::size_t time_size) const {
    return time * time_size + time + type * 6 + chars + leap * (time_size + 4) + isstd + isut;
  }
};
constexpr std::size_t kHeader = 44;

bool header(const std::string& bytes, std::size_t at, Header& out) {
  if (bytes.size() < at + kHeader || bytes.compare(at, 4, "TZif") != 0) return false;
  const auto count = [&](std::size_t i) {
    return static_cast<std::size_t>(number(bytes, at + 20 + i * 4, 4)) & 0xFFFFF;
  };
  out = {count(0), count(1), count(2), count(3), count(4), count(5)};
  return true;
}

// Letters, digits and +-_/ only, so that no name leaves the folder.
bool clean(const std::string& zone) {
  if (zone.empty() || zone.size() > 64 || zone.front() == '/' ||
      zone.find("//") != std::string::npos)
    return false;
  for (const char c : zone)
    if (!std::isalnum(static_cast<unsigned char>(c)) && !std::strchr("+-_/", c)) return false;
  return zone != "posixrules" && zone != "localtime";
}

int year_of(std::int64_t unix_s) {
  using namespace std::chrono;
  return static_cast<int>(
      year_month_day(floor<days>(sys_seconds(std::chrono::seconds(unix_s)))).year());
}

}  // namespace

Result<std::vector<v1::ZoneOffset>> zone_offsets(const std::string& zone, std::int64_t now_s,
                                                 const std::string& field,
                                                 const std::string& folder) {
  const auto unknown = [&] {
    return fail(
        Code::kInvalidArgument,
        field.substr(field.find('.') + 1) + " must be an IANA time zone, such as Europe/Berlin",
        field);
  };
  if (!std::ifstream(folder + "Etc/UTC"))
    return fail(Code::kUnavailable, "the system has no time zones; install tzdata");
  if (!clean(zone)) return unknown();
  std::ifstream in(folder + zone, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  Header first{}, h{};
  if (!in.good() && !in.eof()) return unknown();
  if (bytes.size() > kMaxFile || !header(bytes, 0, first)) return unknown();
  std::size_t at = kHeader + first.body(4);
  if (bytes[4] < '2' || !header(bytes, at, h) || h.type == 0) return unknown();
  at += kHeader;
  if (bytes.size() < at + h.body(8)) return unknown();
  const std::size_t types = at + h.time * 8, infos = types + h.time;
  const auto offset_of = [&](std::size_t type) {
    return static_cast<std::int32_t>(number(bytes, infos + std::min(type, h.type - 1) * 6, 4));
  };
  std::vector<std::pair<std::int64_t, std::int32_t>> changes;
  for (std::size_t i = 0; i < h.time; ++i)
    changes.emplace_back(number(bytes, at + i * 8, 8),
                         offset_of(static_cast<unsigned char>(bytes[types + i])));
  // Between two line feeds behind the table; empty: nothing is known of later years.
  const std::string_view footer = std::string_view(bytes).substr(at + h.body(8));
  const auto end = footer.size() < 2 || footer[0] != '\n' ? footer.npos : footer.find('\n', 1);
  const std::string_view rule = end == footer.npos ? "?" : footer.substr(1, end - 1);
  if (!rule.empty()) {
    const auto later = parse_posix_zone(rule);
    if (!later)
      return fail(Code::kInvalidArgument, "the system's rule of " + zone + " cannot be read",
                  field);
    const std::int64_t known_until = changes.empty() ? INT64_MIN : changes.back().first;
    for (int year = year_of(now_s) - 1; year <= year_of(now_s + actors::kZoneAheadS); ++year)
      for (const auto& change : changes_of(*later, year))
        if (change.first > known_until) changes.push_back(change);
  }
  std::vector<v1::ZoneOffset> out(1);
  out[0].set_from_s(now_s);
  out[0].set_offset_s(offset_of(0));
  for (const auto& [from, offset] : changes) {
    if (from <= now_s) {
      out[0].set_offset_s(offset);
    } else if (from < now_s + actors::kZoneAheadS && out.back().offset_s() != offset) {
      auto& next = out.emplace_back();
      next.set_from_s(from);
      next.set_offset_s(offset);
    }
  }
  return out;
}

}  // namespace soma::runtime::api
