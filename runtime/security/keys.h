// Verification and signing keys: JWKS, PEM, and the four algorithms, over OpenSSL EVP.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/base/errors.h"

using EVP_PKEY = struct evp_pkey_st;

namespace soma::runtime::security {

enum class Algorithm : std::uint8_t { kHs256, kRs256, kEs256, kEdDsa };
std::string_view algorithm_name(Algorithm algorithm);  // "EdDSA"

// One key and the one algorithm it is for. Immutable; thread-safe.
struct Key {
  std::string id;  // kid; empty: none
  Algorithm algorithm = Algorithm::kEdDsa;
  std::string secret;              // HS256 only
  std::shared_ptr<EVP_PKEY> pkey;  // the others
};

// JSON text of a JWKS. Keys of unknown kinds or for encryption are skipped; weak or broken ones
// (RSA under 2048 bits, a point off the curve), duplicate ids, private members and an empty result
// are errors: half a key set would fail open to surprise.
Result<std::vector<Key>> parse_jwks(std::string_view json);
inline constexpr std::size_t kMaxJwksBytes = 256 * 1024;
inline constexpr std::size_t kMaxKeys = 64;

Result<Key> hs256_key(std::string secret, std::string id);
Result<Key> generate_ed25519();  // id: thumbprint (RFC 7638)
Result<Key> ed25519_from_pem(const std::string& pem);
// A public key or a certificate's: RSA of 2048 bits or more (RS256) or Ed25519 (EdDSA). The id is
// the hex SHA-256 of its SubjectPublicKeyInfo, 16 digits.
Result<Key> public_key_from_pem(const std::string& pem);
Result<std::string> private_pem(const Key& key);
// {"kty":"OKP","crv":"Ed25519","x":…,"kid":…,"alg":"EdDSA","use":"sig"} of an Ed25519 key.
Result<std::string> public_jwk(const Key& key);

// False for anything but a right signature of the key's own algorithm; never throws.
bool verify_signature(const Key& key, std::string_view signed_bytes, std::string_view signature);
Result<std::string> sign(const Key& key, std::string_view bytes);  // HS256 and EdDSA

}  // namespace soma::runtime::security
