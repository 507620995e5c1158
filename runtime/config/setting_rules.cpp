// Checks of setting values, shared by all rows of one kind.
#include "runtime/config/setting_rules.h"

#include <algorithm>
#include <charconv>
#include <limits>

namespace soma::runtime::config::rules {
namespace {

constexpr std::size_t kMaxValue = 64 * 1024;  // bytes; an inline JWKS is the largest

std::string join(const std::vector<std::string>& parts, const char* between) {
  std::string out;
  for (const auto& part : parts) (out += out.empty() ? "" : between) += part;
  return out;
}

Status bad(const std::string& key, const std::string& takes) {
  return fail(Code::kInvalidArgument, key + " must be " + takes, key);
}

std::string shown(const Setting& row, const std::string& value) {
  return row.secret && !value.empty() ? "***" : value;
}

template <typename T>
Status parse_number(const std::string& key, const std::string& text, T min, T max, T& out) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < min || value > max)
    return bad(key, "a whole number from " + std::to_string(min) + " to " + std::to_string(max));
  out = value;
  return {};
}

template <typename T>
Setting number_of(Setting row, T Config::*member, T min, T max) {
  if (row.takes.empty()) row.takes = std::to_string(min) + ".." + std::to_string(max);
  row.apply = [key = row.key, member, min, max](Config& c, const std::string& v) {
    return parse_number<T>(key, v, min, max, c.*member);
  };
  row.show = [member](const Config& c) { return std::to_string(c.*member); };
  return row;
}

bool valid_listen(const std::string& text) {
  const auto colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0 || text.size() > 255) return false;
  const std::string host = text.substr(0, colon);
  if ((host.front() == '[') != (host.back() == ']')) return false;
  if (host.front() != '[' && host.find(':') != std::string::npos) return false;
  std::uint32_t port = 0;
  return parse_number<std::uint32_t>("", text.substr(colon + 1), 0, 65535, port).has_value();
}

}  // namespace

std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> out;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const auto first = text.find_first_not_of(" \t", begin);
    if (first < end) {
      const auto last = text.find_last_not_of(" \t", end - 1);
      out.push_back(text.substr(first, last - first + 1));
    }
    begin = end + 1;
  }
  return out;
}

Setting properties(Setting row, std::map<std::string, std::string> Config::*member) {
  row.apply = [key = row.key, member](Config& c, const std::string& v) -> Status {
    if (v.size() > kMaxValue) return bad(key, "at most 64 KiB of text");
    (c.*member).clear();
    for (std::size_t begin = 0; begin < v.size();) {
      const std::size_t end = std::min(v.find('\n', begin), v.size());
      const std::string line = v.substr(begin, end - begin);
      begin = end + 1;
      if (line.empty() || line.front() == '#') continue;
      const auto equals = line.find('=');
      if (equals == std::string::npos || equals == 0) return bad(key, "one name=value a line");
      (c.*member)[line.substr(0, equals)] = line.substr(equals + 1);
    }
    return {};
  };
  row.show = [member, row](const Config& c) {
    return shown(row, (c.*member).empty() ? "" : std::to_string((c.*member).size()));
  };
  return row;
}

Setting text(Setting row, StringMember member) {
  row.apply = [key = row.key, member](Config& c, const std::string& v) -> Status {
    if (v.size() > kMaxValue || v.find('\0') != v.npos) return bad(key, "at most 64 KiB of text");
    c.*member = v;
    return {};
  };
  row.show = [member, row](const Config& c) { return shown(row, c.*member); };
  return row;
}

Setting url(Setting row, StringMember member, std::vector<std::string> schemes) {
  row.apply = [key = row.key, member, schemes](Config& c, const std::string& v) -> Status {
    const bool known = std::ranges::any_of(
        schemes, [&](const std::string& s) { return v.starts_with(s) && v.size() > s.size(); });
    const bool clean = v.size() <= kMaxValue && std::ranges::none_of(v, [](unsigned char b) {
                         return b <= 0x20 || b == 0x7F;
                       });
    if (!v.empty() && (!known || !clean))
      return bad(key, "a URL that begins with " + join(schemes, " or "));
    c.*member = v;
    return {};
  };
  // A URL may carry a password; show where it goes, not with what.
  row.show = [member](const Config& c) {
    std::string v = c.*member;
    const auto begin = v.find("://");
    const auto at = v.find('@');
    if (begin != v.npos && at != v.npos) v.replace(begin + 3, at - begin - 3, "***");
    return v;
  };
  return row;
}

Setting listen(Setting row, StringMember member, bool may_be_off) {
  row.takes = may_be_off ? "HOST:PORT|off" : "HOST:PORT";
  row.apply = [key = row.key, member, may_be_off](Config& c, const std::string& v) -> Status {
    if (may_be_off && (v == "off" || v.empty())) {
      (c.*member).clear();
      return {};
    }
    if (!valid_listen(v))
      return bad(key, std::string("HOST:PORT, such as 127.0.0.1:8080 (port 0 picks a free one)") +
                          (may_be_off ? ", or off" : ""));
    c.*member = v;
    return {};
  };
  row.show = [member, may_be_off](const Config& c) {
    return may_be_off && (c.*member).empty() ? std::string("off") : c.*member;
  };
  return row;
}

Setting choice(Setting row, StringMember member, std::vector<std::string> values) {
  row.takes = join(values, "|");
  row.apply = [key = row.key, member, values](Config& c, const std::string& v) -> Status {
    if (!std::ranges::count(values, v)) return bad(key, "one of " + join(values, ", "));
    c.*member = v;
    return {};
  };
  row.show = [member](const Config& c) { return c.*member; };
  return row;
}

Setting flag(Setting row, bool Config::*member) {
  row.takes = "true|false";
  row.apply = [key = row.key, member](Config& c, const std::string& v) -> Status {
    if (v == "true" || v == "1" || v == "yes" || v == "on")
      c.*member = true;
    else if (v == "false" || v == "0" || v == "no" || v == "off")
      c.*member = false;
    else
      return bad(key, "true or false");
    return {};
  };
  row.show = [member](const Config& c) { return std::string(c.*member ? "true" : "false"); };
  return row;
}

Setting list(Setting row, std::vector<std::string> Config::*member) {
  row.apply = [key = row.key, member](Config& c, const std::string& v) -> Status {
    auto parts = split_list(v);
    if (parts.size() > 64) return bad(key, "a list of at most 64 entries");
    if (parts.empty() && !v.empty()) return bad(key, "a list, and this one has no entry");
    c.*member = std::move(parts);
    return {};
  };
  row.show = [member](const Config& c) { return join(c.*member, ","); };
  return row;
}

Setting number(Setting row, std::uint64_t Config::*member, std::uint64_t min, std::uint64_t max) {
  return number_of(std::move(row), member, min, max);
}
Setting number(Setting row, std::uint32_t Config::*member, std::uint32_t min, std::uint32_t max) {
  return number_of(std::move(row), member, min, max);
}

}  // namespace soma::runtime::config::rules
