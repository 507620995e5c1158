// Bytes from hex text: the inverse of hex() in sha256.h.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace soma {

// Digits in either case. None: an odd number of digits, or something else among them.
std::optional<std::string> unhex(std::string_view text);

}  // namespace soma
