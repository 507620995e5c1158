// Scripts from JSON, and vectors from hashes.
#include "tests/support/upstream_script.h"

#include <algorithm>
#include <boost/json.hpp>
#include <cctype>
#include <cmath>
#include <map>
#include <variant>

namespace soma::test {

namespace json = boost::json;

namespace {

using Field = std::variant<int Behaviour::*, bool Behaviour::*, std::string Behaviour::*,
                           std::vector<std::string> Behaviour::*>;

const std::map<std::string_view, Field>& fields() {
  static const std::map<std::string_view, Field> all{
      {"model", &Behaviour::model},
      {"status", &Behaviour::status},
      {"retry_after_s", &Behaviour::retry_after_s},
      {"delay_ms", &Behaviour::delay_ms},
      {"token_delay_ms", &Behaviour::token_delay_ms},
      {"echo", &Behaviour::echo},
      {"tokens", &Behaviour::tokens},
      {"text", &Behaviour::text},
      {"finish_reason", &Behaviour::finish_reason},
      {"tool_calls", &Behaviour::tool_calls},
      {"insists", &Behaviour::insists},
      {"usage", &Behaviour::usage},
      {"done", &Behaviour::done},
      {"streams", &Behaviour::streams},
      {"cut_after", &Behaviour::cut_after},
      {"stall_after", &Behaviour::stall_after},
      {"malformed_after", &Behaviour::malformed_after},
      {"error_after", &Behaviour::error_after},
      {"late_text", &Behaviour::late_text},
      {"write_bytes", &Behaviour::write_bytes},
      {"dimensions", &Behaviour::dimensions}};
  return all;
}

bool assign(Behaviour& b, const Field& field, const json::value& v) {
  if (const auto* number = std::get_if<int Behaviour::*>(&field)) {
    if (!v.is_int64()) return false;
    b.** number = static_cast<int>(v.get_int64());
    return true;
  }
  if (const auto* flag = std::get_if<bool Behaviour::*>(&field)) {
    if (!v.is_bool()) return false;
    b.** flag = v.get_bool();
    return true;
  }
  if (const auto* text = std::get_if<std::string Behaviour::*>(&field)) {
    if (!v.is_string()) return false;
    b.** text = std::string(v.get_string());
    return true;
  }
  const auto* list = std::get_if<std::vector<std::string> Behaviour::*>(&field);
  if (!v.is_array()) return false;
  (b.**list).clear();
  for (const auto& item : v.get_array()) {
    if (!item.is_string()) return false;
    (b.**list).emplace_back(item.get_string());
  }
  return true;
}

Result<Behaviour> behaviour(const json::value& v) {
  if (!v.is_object())
    return fail(Code::kInvalidArgument, "a behaviour must be an object", "script");
  Behaviour b;
  for (const auto& [name, value] : v.get_object()) {
    auto it = fields().find(std::string_view(name));
    if (it == fields().end() || !assign(b, it->second, value))
      return fail(Code::kInvalidArgument, "unknown field, or a value of the wrong type",
                  std::string(name));
  }
  return b;
}

std::uint64_t mix(std::uint64_t x) {  // splitmix64
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace

Behaviour Script::take(std::string_view model) {
  const auto mine = std::ranges::find_if(
      next, [&](const Behaviour& b) { return b.model.empty() || b.model == model; });
  if (mine == next.end()) return otherwise;
  Behaviour b = std::move(*mine);
  next.erase(mine);
  return b;
}

Result<Script> parse_script(std::string_view text) {
  boost::system::error_code bad;
  const json::value v = json::parse(text, bad);
  if (bad || !v.is_object())
    return fail(Code::kInvalidArgument, "a script must be a JSON object", "script");
  Script s;
  const auto& o = v.get_object();
  if (!o.contains("next") && !o.contains("otherwise")) {
    auto one = behaviour(v);
    if (!one) return tl::unexpected(one.error());
    s.otherwise = *one;
    return s;
  }
  if (const auto* next = o.if_contains("next")) {
    if (!next->is_array()) return fail(Code::kInvalidArgument, "next must be a list", "next");
    for (const auto& item : next->get_array()) {
      auto one = behaviour(item);
      if (!one) return tl::unexpected(one.error());
      s.next.push_back(*one);
    }
  }
  if (const auto* otherwise = o.if_contains("otherwise")) {
    auto one = behaviour(*otherwise);
    if (!one) return tl::unexpected(one.error());
    s.otherwise = *one;
  }
  return s;
}

std::vector<float> hash_embedding(std::string_view text, int dimensions) {
  std::vector<double> sum(static_cast<std::size_t>(dimensions), 0.0);
  const auto add = [&](std::string_view word) {
    std::uint64_t h = 0xcbf29ce484222325u;  // FNV-1a
    for (const unsigned char c : word)
      h = (h ^ static_cast<unsigned char>(std::tolower(c))) * 0x100000001b3u;
    for (auto& x : sum) {
      h = mix(h);
      x += static_cast<double>(h >> 11) / 4503599627370496.0 - 1.0;  // -1 .. 1
    }
  };
  std::size_t at = 0;
  while (at < text.size()) {
    while (at < text.size() && std::isspace(static_cast<unsigned char>(text[at]))) ++at;
    const std::size_t begin = at;
    while (at < text.size() && !std::isspace(static_cast<unsigned char>(text[at]))) ++at;
    if (at > begin) add(text.substr(begin, at - begin));
  }
  double norm = 0;
  for (const double x : sum) norm += x * x;
  if (norm == 0) {
    add("");
    for (const double x : sum) norm += x * x;
  }
  std::vector<float> out;
  for (const double x : sum) out.push_back(static_cast<float>(x / std::sqrt(norm)));
  return out;
}

}  // namespace soma::test
