// SHA-256 of bytes, and hex text, over OpenSSL.
#pragma once

#include <string>
#include <string_view>

namespace soma {

std::string sha256(std::string_view bytes);      // 32 raw bytes
std::string hex(std::string_view bytes);         // lower-case
std::string sha256_hex(std::string_view bytes);  // 64 characters

}  // namespace soma
