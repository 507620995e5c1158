// AES-256-GCM and the keys' derivation, over OpenSSL.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace soma::runtime::privacy {

inline constexpr std::size_t kKeyBytes = 32, kNonceBytes = 12, kTagBytes = 16;

std::string random_bytes(std::size_t size);
// Nonce, ciphertext, tag. The nonce is random: safe for 2^32 messages of a key.
std::string encrypt(std::string_view key, std::string_view aad, std::string_view plain);
// Nothing when it does not check.
std::optional<std::string> decrypt(std::string_view key, std::string_view aad,
                                   std::string_view sealed);
std::string hmac_sha256(std::string_view key, std::string_view text);
void wipe(std::string& secret);  // its bytes, before it goes

}  // namespace soma::runtime::privacy
