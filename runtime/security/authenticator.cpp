// Verification with a bounded cache of token hashes, and issuing.
#include "runtime/security/authenticator.h"

#include <atomic>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <chrono>
#include <fstream>
#include <mutex>
#include <unordered_map>

#include "runtime/security/base64url.h"
#include "runtime/security/jwt.h"
#include "runtime/security/key_file.h"
#include "runtime/security/keys.h"
#include "runtime/telemetry/trace.h"
#include "schemas/base/sha256.h"
#include "schemas/json/json_text.h"

namespace soma::runtime::security {
namespace {

namespace json = boost::json;

tl::unexpected<Error> refuse(const char* detail) { return fail(Code::kUnauthenticated, detail); }

Result<std::string> jwks_text(const std::string& setting) {
  const auto first = setting.find_first_not_of(" \t\r\n");
  if (first != setting.npos && setting[first] == '{') return setting;
  std::ifstream in(setting, std::ios::binary);
  if (!in)
    return fail(Code::kInvalidArgument,
                "identity.jwks: cannot read the file " + setting +
                    "; give a readable file or the JSON itself",
                "identity.jwks");
  std::string text(kMaxJwksBytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  return text;
}

Identity developer() {
  Identity identity;
  identity.anonymous = true;
  identity.principal.set_tenant("demo");
  identity.principal.set_subject("developer");
  identity.principal.add_capabilities("*");
  return identity;
}

// Verified tokens by the SHA-256 of their text, so that memory holds no usable token. Entries are
// only remembered while valid; expiry and revocation are checked at every use.
class TokenCache {
 public:
  explicit TokenCache(std::size_t limit) : limit_(limit) {}

  std::optional<Identity> find(const std::string& hash) {
    const std::lock_guard lock(mutex_);
    const auto it = entries_.find(hash);
    return it == entries_.end() ? std::nullopt : std::optional(it->second);
  }
  void insert(const std::string& hash, const Identity& identity) {
    if (limit_ == 0) return;
    const std::lock_guard lock(mutex_);
    // Dropping all at the bound is cheap, and a full cache of live tokens refills at once.
    if (entries_.size() >= limit_) entries_.clear();
    entries_.emplace(hash, identity);
  }
  void clear() {
    const std::lock_guard lock(mutex_);
    entries_.clear();
  }

 private:
  std::mutex mutex_;
  std::size_t limit_;
  std::unordered_map<std::string, Identity> entries_;
};

}  // namespace

struct Authenticator::Impl {
  AuthOptions options;
  std::vector<Key> configured;  // JWKS and secret
  mutable std::mutex mode_mutex;
  std::shared_ptr<const OwnKeys> own_keys;  // by mode_mutex; null: none
  std::mutex rotating;
  std::string mode;
  std::atomic<bool> developer_mode{false};
  std::atomic<std::uint64_t> generation{0};  // of the mode; remembered tokens belong to one
  mutable TokenCache cache{0};

  explicit Impl(AuthOptions o) : options(std::move(o)), cache(options.cache_entries) {}

  // With keys configured, the data folder's own key counts in developer modes only.
  // Null where they do not.
  std::shared_ptr<const OwnKeys> own() const {
    if (!configured.empty() && !developer_mode.load()) return nullptr;
    const std::lock_guard lock(mode_mutex);
    return own_keys;
  }

  const Key* find_key(const ParsedToken& token, const OwnKeys* own) const {
    const auto fits = [&](const Key& key) {
      return key.algorithm == token.algorithm && (!token.key_id || key.id == *token.key_id);
    };
    const Key* found = nullptr;
    std::size_t matches = 0;
    for (const Key& key : configured)
      if (fits(key)) {
        found = &key;
        ++matches;
      }
    if (own && fits(own->signing)) {
      found = &own->signing;
      ++matches;
    }
    if (own && token.key_id)
      for (const RetiredKey& retired : own->retired)
        if (fits(retired.key) && retired.until_s > options.now_s()) {
          found = &retired.key;
          ++matches;
        }
    if (matches == 1) return found;
    // A secret without id is one key for whatever kid its issuer writes, if nothing else fits.
    if (matches == 0 && token.algorithm == Algorithm::kHs256)
      for (const Key& key : configured)
        if (key.algorithm == Algorithm::kHs256 && key.id.empty()) return &key;
    return nullptr;  // unknown, or ambiguous without a kid
  }

  Result<Identity> verify_fresh(std::string_view text, std::int64_t now_s) const {
    const auto token = parse_token(text);
    if (!token) return refuse("Invalid token");
    const auto own_now = own();  // lives as long as the key that is found in it
    const Key* key = find_key(*token, own_now.get());
    if (key == nullptr || !verify_signature(*key, token->signed_bytes, token->signature))
      return refuse("Invalid token");
    auto claims = check_claims(token->payload, {options.issuer, options.audience, now_s});
    if (!claims) return tl::unexpected(claims.error());
    Identity out;
    out.principal.set_subject(claims->subject);
    out.principal.set_tenant(claims->tenant);
    out.principal.set_client_type(claims->client_type);
    for (auto& capability : claims->capabilities) out.principal.add_capabilities(capability);
    out.token_id = claims->token_id;
    out.issued_s = claims->issued_s;
    out.expires_s = claims->expires_s;
    out.constitution_hash = claims->constitution_hash;
    return out;
  }
};

Authenticator::Authenticator(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Authenticator::~Authenticator() = default;

Result<std::unique_ptr<Authenticator>> Authenticator::create(AuthOptions options) {
  if (!options.now_s)
    options.now_s = [] {
      return std::chrono::duration_cast<std::chrono::seconds>(
                 std::chrono::system_clock::now().time_since_epoch())
          .count();
    };
  auto impl = std::make_unique<Impl>(std::move(options));
  const AuthOptions& o = impl->options;
  if (!o.jwks.empty()) {
    auto text = jwks_text(o.jwks);
    if (!text) return tl::unexpected(text.error());
    auto keys = parse_jwks(*text);
    if (!keys) return tl::unexpected(keys.error());
    impl->configured = std::move(*keys);
  }
  if (!o.hs256_secret.empty()) {
    auto key = hs256_key(o.hs256_secret, "");
    if (!key)
      return fail(Code::kInvalidArgument, "identity.hs256_secret must have at least 32 bytes",
                  "identity.hs256_secret");
    impl->configured.push_back(std::move(*key));
  }
  if (!o.key_dir.empty()) {
    auto keys = load_or_create_keys(o.key_dir);
    if (!keys) return tl::unexpected(keys.error());
    impl->own_keys = std::make_shared<const OwnKeys>(std::move(*keys));
  }
  std::unique_ptr<Authenticator> out(new Authenticator(std::move(impl)));
  out->set_mode(out->impl_->options.mode);
  return out;
}

Result<Identity> Authenticator::authenticate(std::optional<std::string_view> header) const {
  if (!header || header->empty()) {
    if (impl_->developer_mode.load()) return developer();
    return refuse("Missing bearer token");
  }
  constexpr std::string_view kScheme = "bearer ";
  bool bearer = header->size() > kScheme.size();
  for (std::size_t i = 0; bearer && i < kScheme.size(); ++i)
    bearer = ((*header)[i] | 0x20) == kScheme[i];
  // Another scheme, or none, is no bearer token; it is never the anonymous developer.
  if (!bearer) return refuse("Missing bearer token");
  auto token = header->substr(kScheme.size());
  while (token.starts_with(' ')) token.remove_prefix(1);
  if (token.empty()) return refuse("Missing bearer token");
  return verify_token(token);
}

Result<v1::Principal> Authenticator::verify(std::optional<std::string_view> header) const {
  auto identity = authenticate(header);
  if (!identity) return tl::unexpected(identity.error());
  return std::move(identity->principal);
}

Result<Identity> Authenticator::verify_token(std::string_view token) const {
  if (token.size() > kMaxTokenBytes) return refuse("Invalid token");
  const std::string hash = sha256(token) + std::to_string(impl_->generation.load());
  Result<Identity> identity = refuse("Invalid token");
  if (auto known = impl_->cache.find(hash)) {
    identity = std::move(*known);
  } else {
    identity = impl_->verify_fresh(token, impl_->options.now_s());
    if (!identity) return identity;
    impl_->cache.insert(hash, *identity);
  }
  const std::int64_t now = impl_->options.now_s();
  if (identity->expires_s + kLeewaySeconds <= now) return refuse("Token expired");
  // The clock may have been set back since the token was remembered.
  if (identity->issued_s > now + kLeewaySeconds) return refuse("Invalid token");
  if (impl_->options.revoked && impl_->options.revoked(identity->token_id))
    return refuse("Invalid token");
  return identity;
}

Result<IssuedToken> Authenticator::issue_token(const TokenRequest& request) const {
  const auto invalid = [](const char* field, const char* what) {
    return fail(Code::kInvalidArgument, std::string(field) + " " + what,
                std::string("body.") + field);
  };
  if (request.subject.empty() || request.subject.size() > 256)
    return invalid("user_id", "must have 1 to 256 bytes");
  if (request.tenant.empty() || request.tenant.size() > 256 ||
      request.tenant.find('/') != std::string::npos)
    return invalid("tenant_id", "must have 1 to 256 bytes and no slash");
  if (is_reserved_tenant(request.tenant))
    return invalid("tenant_id", "must not begin with _ or $: such names are reserved");
  if (request.ttl_s < 1 || request.ttl_s > kMaxTtlSeconds)
    return invalid("ttl", "must be from one second to 31 days");
  if (request.capabilities.empty()) return invalid("capabilities", "must name at least one");
  json::array capabilities;
  for (const auto& capability : request.capabilities) {
    if (!is_valid_capability(capability))
      return invalid("capabilities", "must each be area:verb, area:* or *");
    capabilities.emplace_back(capability);
  }
  const auto own = impl_->own();
  const Key* key = own ? &own->signing : nullptr;
  if (key == nullptr)
    for (const Key& k : impl_->configured)
      if (k.algorithm == Algorithm::kHs256) {
        key = &k;
        break;
      }
  if (key == nullptr)
    return fail(Code::kNotSupported,
                "this node has no key to sign with; tokens come from the "
                "issuer of identity.jwks");
  IssuedToken out;
  const std::int64_t issued_s = request.issued_s ? request.issued_s : impl_->options.now_s();
  out.key_id = key->id;
  out.issued_s = issued_s;
  out.token_id = request.token_id.empty() ? random_hex(16) : request.token_id;
  out.expires_s = issued_s + request.ttl_s;
  json::object header{{"alg", std::string(algorithm_name(key->algorithm))}, {"typ", "JWT"}};
  if (!key->id.empty()) header["kid"] = key->id;
  const std::string& issuer = impl_->options.issuer;
  const std::string& audience = impl_->options.audience;
  json::object claims{{"iss", issuer.empty() ? "soma" : issuer},
                      {"aud", audience.empty() ? "soma" : audience},
                      {"sub", request.subject},
                      {"tenant_id", request.tenant},
                      {"capabilities", std::move(capabilities)},
                      {"iat", issued_s},
                      {"exp", out.expires_s},
                      {"jti", out.token_id}};
  if (!request.client_type.empty()) claims["client_type"] = request.client_type;
  if (!request.constitution_hash.empty()) claims["constitution_hash"] = request.constitution_hash;
  out.token = unsigned_token(json_text(header), json_text(claims));
  auto signature = sign(*key, out.token);
  if (!signature) return tl::unexpected(signature.error());
  out.token += '.' + base64url_encode(*signature);
  if (out.token.size() > kMaxTokenBytes)
    return invalid("capabilities", "make the token larger than 16 KiB");
  // Never hand out what we would refuse.
  if (auto check = impl_->verify_fresh(out.token, issued_s); !check)
    return fail(Code::kInvalidArgument,
                "user_id, tenant_id or client_type hold characters that a "
                "token may not carry");
  return out;
}

std::string Authenticator::public_jwks() const {
  std::string keys;
  const auto own = impl_->own();
  if (!own) return R"({"keys":[]})";
  if (auto jwk = public_jwk(own->signing)) keys = *jwk;
  for (const auto& retired : own->retired)
    if (auto jwk = public_jwk(retired.key); jwk && retired.until_s > impl_->options.now_s())
      keys += "," + *jwk;
  return (R"({"keys":[)" + keys).append("]}");
}

Result<Key> Authenticator::new_key() const {
  if (impl_->options.shared_keys)
    return fail(Code::kNotSupported,
                "on a cluster each node has the keys in its own folder, and the others would go on "
                "trusting the old one: stop a node, soma auth rotate there, copy its keys to the "
                "other folders, and start the nodes again by turns");
  if (!impl_->own())
    return fail(Code::kNotSupported,
                "this node has no signing key of its own to replace; keys come from identity.jwks "
                "or identity.hs256_secret");
  return generate_ed25519();
}

std::string Authenticator::signing_key_id() const {
  const auto own = impl_->own();
  return own ? own->signing.id : std::string();
}

Status Authenticator::rotate(const Key& next, bool at_once) {
  const std::lock_guard one_at_a_time(impl_->rotating);
  const auto now = impl_->own();
  if (!now) return fail(Code::kNotSupported, "this node has no signing key of its own");
  const std::int64_t now_s = impl_->options.now_s();
  auto replaced = replace_key(impl_->options.key_dir, *now, next, now_s,
                              at_once ? 0 : now_s + kMaxTtlSeconds + kLeewaySeconds);
  if (!replaced) return tl::unexpected(replaced.error());
  const std::lock_guard lock(impl_->mode_mutex);
  impl_->own_keys = std::make_shared<const OwnKeys>(std::move(*replaced));
  ++impl_->generation;  // remembered tokens may rest on a key that no longer counts
  impl_->cache.clear();
  return {};
}

void Authenticator::set_mode(const std::string& mode) {
  const std::lock_guard lock(impl_->mode_mutex);
  impl_->mode = mode;
  impl_->developer_mode = is_developer_mode(mode);
  ++impl_->generation;  // remembered tokens may rest on a key that no longer counts
  impl_->cache.clear();
}

std::string Authenticator::mode() const {
  const std::lock_guard lock(impl_->mode_mutex);
  return impl_->mode;
}

}  // namespace soma::runtime::security
