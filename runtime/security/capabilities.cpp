// Capabilities are area:verb, area:* or *; and what the mode's name allows.
#include "runtime/security/authenticator.h"

namespace soma::runtime::security {
namespace {

constexpr std::size_t kMaxCapability = 128;  // bytes

bool is_word(std::string_view text) {
  if (text.empty()) return false;
  for (const char c : text)
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
          c == '-' || c == '.'))
      return false;
  return true;
}

}  // namespace

bool is_valid_capability(std::string_view text) {
  if (text == "*") return true;
  if (text.size() > kMaxCapability) return false;
  const auto colon = text.find(':');
  if (colon == text.npos) return false;
  const auto verb = text.substr(colon + 1);
  return is_word(text.substr(0, colon)) && (verb == "*" || is_word(verb));
}

bool capability_matches(std::string_view have, std::string_view want) {
  if (!is_valid_capability(have) || !is_valid_capability(want)) return false;
  if (have == "*" || have == want) return true;
  return have.ends_with(":*") && want.starts_with(have.substr(0, have.size() - 1));
}

bool has_capability(const v1::Principal& principal, std::string_view want) {
  for (const auto& have : principal.capabilities())
    if (capability_matches(have, want)) return true;
  return false;
}

bool is_developer_mode(std::string_view mode) {
  return mode == "developer-light" || mode == "developer-full";
}
bool is_production_mode(std::string_view mode) {
  return mode == "production" || mode == "production-debug";
}

}  // namespace soma::runtime::security
