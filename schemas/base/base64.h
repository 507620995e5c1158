// Standard base64 with padding (RFC 4648, section 4).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace soma {

std::string base64(std::string_view bytes);
// Nothing unless it is what base64() gives of some bytes.
std::optional<std::string> unbase64(std::string_view text);

}  // namespace soma
