// A compact JWS taken apart, strictly; and its claims checked. No keys here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/security/keys.h"
#include "schemas/base/errors.h"

namespace soma::runtime::security {

// Views point into the token that was given.
struct ParsedToken {
  Algorithm algorithm = Algorithm::kEdDsa;
  std::optional<std::string> key_id;
  std::string payload;            // decoded JSON text
  std::string signature;          // decoded
  std::string_view signed_bytes;  // header.payload as sent
};

// Structure, base64url and protected header. Nothing when anything is off; says no more on purpose.
std::optional<ParsedToken> parse_token(std::string_view token);

struct Claims {
  std::string subject;
  std::string tenant;
  std::vector<std::string> capabilities;
  std::string token_id;
  std::string client_type;
  std::string constitution_hash;
  std::int64_t issued_s = 0;
  std::int64_t expires_s = 0;
};
struct ClaimRules {
  std::string issuer;    // empty: any
  std::string audience;  // empty: absent, or "soma"
  std::int64_t now_s = 0;
};

// Names that begin with _ or $ are of what is no tenant: "_global", "$system". No token carries
// one.
bool is_reserved_tenant(std::string_view tenant);

// "Invalid token", "Token expired" or "Incomplete token claims", as kUnauthenticated; a reserved
// tenant is named behind the first.
Result<Claims> check_claims(std::string_view payload, const ClaimRules& rules);

// Header and payload as base64url of JSON; the signature is the caller's.
std::string unsigned_token(std::string_view header_json, std::string_view payload_json);

}  // namespace soma::runtime::security
