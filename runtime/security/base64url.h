// Base64url without padding (RFC 4648, section 5), strict: one text for one value.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace soma::runtime::security {

std::string base64url_encode(std::string_view bytes);
// Nothing for padding, white space, the other alphabet, or set bits beyond the last byte.
std::optional<std::string> base64url_decode(std::string_view text);

}  // namespace soma::runtime::security
