// Reading members of parsed JSON without exceptions.
#pragma once

#include <boost/json/value.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace soma::runtime {

inline const boost::json::value* member(const boost::json::value& v, std::string_view name) {
  return v.is_object() ? v.get_object().if_contains(name) : nullptr;
}
inline std::string text_of(const boost::json::value* v) {
  return v && v->is_string() ? std::string(v->get_string()) : std::string();
}
// 0 when it is not a whole number of at least 0.
// Tokens that a model server says it used; nothing where that cannot be of one call.
inline std::optional<std::uint64_t> tokens_of(const boost::json::value* v) {
  constexpr std::uint64_t kMost = 10'000'000;
  if (!v || !(v->is_uint64() || (v->is_int64() && v->get_int64() >= 0))) return {};
  const auto tokens = v->to_number<std::uint64_t>();
  return tokens <= kMost ? std::optional(tokens) : std::nullopt;
}

inline std::uint64_t number_of(const boost::json::value* v) {
  if (!v) return 0;
  if (v->is_uint64()) return v->get_uint64();
  if (v->is_int64() && v->get_int64() >= 0) return static_cast<std::uint64_t>(v->get_int64());
  return 0;
}

}  // namespace soma::runtime
