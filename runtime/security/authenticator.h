// Who is asking: verifies bearer tokens, issues our own, and owns the keys for both.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/base/errors.h"
#include "soma/v1/common.pb.h"

namespace soma::runtime::security {

struct Key;

// A verified caller.
struct Identity {
  v1::Principal principal;
  std::string token_id;       // jti; empty for the anonymous developer
  std::int64_t issued_s = 0;  // Unix seconds
  std::int64_t expires_s = 0;
  std::string constitution_hash;  // of the token; empty when it carries none
  bool anonymous = false;         // developer mode without a token
};

struct AuthOptions {
  std::string mode =
      "production";          // developer-* lets a missing token be tenant demo, user developer
  std::string key_dir;       // DATA_DIR/keys; empty: no own key pair
  bool shared_keys = false;  // by several nodes: not replaced at one of them alone
  std::string jwks;          // JSON text or a file's path; empty: none
  std::string hs256_secret;  // at least 32 bytes; empty: none
  std::string issuer;        // when set, `iss` must equal it
  std::string audience;  // when set, `aud` must contain it; else `aud`, if there, must hold "soma"
  std::size_t cache_entries = 4096;                          // verified tokens remembered by hash
  std::function<std::int64_t()> now_s;                       // default: system clock
  std::function<bool(const std::string& token_id)> revoked;  // default: none is
};

struct TokenRequest {
  std::string subject;
  std::string tenant;
  std::vector<std::string> capabilities;
  std::int64_t ttl_s = 3600;  // 1 .. 31 days
  std::string client_type;
  std::string constitution_hash;
  std::string token_id;       // empty: a random one
  std::int64_t issued_s = 0;  // Unix seconds; 0: now
};
struct IssuedToken {
  std::string token;
  std::string token_id;
  std::string key_id;  // of the key that signed it; empty: it has none
  std::int64_t issued_s = 0;
  std::int64_t expires_s = 0;
};

inline constexpr std::size_t kMaxTokenBytes = 16 * 1024;
inline constexpr std::int64_t kLeewaySeconds = 60;
inline constexpr std::int64_t kMaxTtlSeconds = 31 * 24 * 3600;

// Thread-safe after create(). Fails closed: no key, no token is valid. Every refusal is
// kUnauthenticated with exactly one of: "Missing bearer token", "Token expired", "Invalid token",
// "Incomplete token claims"; "Invalid token: …" says why where the tenant's name is reserved.
class Authenticator {
 public:
  // Reads or makes the key pair (Ed25519, mode 0600, written atomically) and reads the JWKS.
  // kInvalidArgument names the setting at fault.
  static Result<std::unique_ptr<Authenticator>> create(AuthOptions options);
  ~Authenticator();
  Authenticator(const Authenticator&) = delete;
  Authenticator& operator=(const Authenticator&) = delete;

  // `authorization`: the header's value, or nothing when the request has none.
  Result<Identity> authenticate(std::optional<std::string_view> authorization) const;
  Result<v1::Principal> verify(std::optional<std::string_view> authorization) const;
  // The token alone, without the "Bearer " before it.
  Result<Identity> verify_token(std::string_view token) const;

  // Signed with the own key pair, or with the HS256 secret when there is no key pair. The same
  // request, with its token_id and issued_s, gives the same token while the key is the same.
  Result<IssuedToken> issue_token(const TokenRequest& request) const;

  // A signing key that is not in use yet; kNotSupported where there is no key folder.
  Result<Key> new_key() const;
  std::string signing_key_id() const;  // "": none
  // Signs with `next` from now on. Tokens of the keys before end by themselves, or `at_once`.
  // Touches files: not from an io thread.
  Status rotate(const Key& next, bool at_once);

  // Public keys that verify what we issue: `{"keys":[…]}` for /.well-known/jwks.json.
  std::string public_jwks() const;
  // Mode changes at run time decide about anonymous callers and the own key's validity.
  void set_mode(const std::string& mode);
  std::string mode() const;

 private:
  struct Impl;
  explicit Authenticator(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// `have` is area:verb, area:* or *. A malformed one matches nothing.
bool capability_matches(std::string_view have, std::string_view want);
bool has_capability(const v1::Principal& principal, std::string_view want);
bool is_valid_capability(std::string_view text);
bool is_developer_mode(std::string_view mode);
bool is_production_mode(std::string_view mode);

}  // namespace soma::runtime::security
