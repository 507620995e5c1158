// Fuzzes token verification: as sent (nothing unsigned may pass), and behind a good signature (what
// passes has sound claims). Input: a token, or "HEADER\nPAYLOAD" of one to be signed.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "runtime/security/authenticator.h"
#include "runtime/security/base64url.h"
#include "runtime/security/jwt.h"
#include "runtime/security/keys.h"
#include "runtime/telemetry/trace.h"

using namespace soma::runtime::security;

namespace {
constexpr std::int64_t kNow = 1'800'000'000;

// Made anew in each process, so that no input can hold a valid signature.
const std::string& secret() {
  static const std::string instance = soma::runtime::random_hex(32);
  return instance;
}
const Authenticator& authenticator() {
  static const auto instance = [] {
    AuthOptions options;
    options.hs256_secret = secret();
    options.cache_entries = 16;
    options.now_s = [] { return kNow; };
    return std::move(Authenticator::create(options).value());
  }();
  return *instance;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  if (authenticator().verify_token(input)) std::abort();
  if (authenticator().authenticate(input)) std::abort();
  if (const auto bytes = base64url_decode(input))
    if (base64url_encode(*bytes) != input) std::abort();
  const auto line = input.find('\n');
  if (line == input.npos) return 0;
  static const Key key = hs256_key(secret(), "").value();
  std::string token = unsigned_token(input.substr(0, line), input.substr(line + 1));
  token += '.' + base64url_encode(sign(key, token).value());
  const auto identity = authenticator().verify_token(token);
  if (!identity) {
    if (identity.error().code != soma::Code::kUnauthenticated) std::abort();
    return 0;
  }
  const auto& who = identity->principal;
  if (who.subject().empty() || who.tenant().empty() || identity->token_id.empty()) std::abort();
  if (who.tenant().find('/') != std::string::npos) std::abort();
  if (identity->expires_s + kLeewaySeconds <= kNow) std::abort();
  for (const auto& capability : who.capabilities())
    if (!is_valid_capability(capability)) std::abort();
  return 0;
}
