// Small text work of HTTP: percent decoding, names without case, status phrases.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace soma::runtime::http {

bool equal_without_case(std::string_view a, std::string_view b);
const char* status_text(int status);  // "Not Found"

// Nothing for a broken escape, NUL or other control bytes, or invalid UTF-8 after decoding.
std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space);
// Nothing when a part cannot be decoded or there are more than kMaxQueryParameters.
inline constexpr std::size_t kMaxQueryParameters = 100;
std::optional<std::multimap<std::string, std::string>> parse_query(std::string_view text);
bool valid_utf8(std::string_view text);
// Visible ASCII, 1 to `max` bytes: what we echo in a header or use as a key.
bool is_token_text(std::string_view text, std::size_t max);
// "application/json; charset=utf-8" or "application/x+json".
bool is_json_content_type(std::string_view text);

}  // namespace soma::runtime::http
