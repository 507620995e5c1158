// Strict reading of tokens: RFC 7515, 7519, 8725.
#include "runtime/security/jwt.h"

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/value.hpp>
#include <limits>

#include "runtime/security/authenticator.h"
#include "runtime/security/base64url.h"
#include "runtime/security/json_object.h"

namespace soma::runtime::security {
namespace {

namespace json = boost::json;

constexpr std::size_t kMaxKeyId = 256;  // bytes
constexpr std::size_t kMaxName = 256;   // bytes of sub, tenant_id, jti
constexpr std::size_t kMaxCapabilities = 256;
constexpr std::int64_t kMaxTime = 253402300799;  // 9999-12-31T23:59:59Z

const json::string* string_member(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(json::string_view(name.data(), name.size()));
  return value == nullptr ? nullptr : value->if_string();
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  });
  return out;
}

std::optional<Algorithm> algorithm_of(std::string_view name) {
  for (const auto a : {Algorithm::kHs256, Algorithm::kRs256, Algorithm::kEs256, Algorithm::kEdDsa})
    if (algorithm_name(a) == name) return a;
  return {};
}

// Text that may become an actor key, a log field or a database value.
bool clean_name(std::string_view text) {
  return !text.empty() && text.size() <= kMaxName &&
         std::ranges::none_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7F; });
}
bool clean_tenant(std::string_view text) {
  return clean_name(text) && text.find('/') == text.npos;  // keys are TENANT/TYPE/ID
}

bool header_allowed(const json::object& header) {
  // A token must not bring its own key, and we know no extension that crit could name.
  static constexpr std::array<std::string_view, 8> kRefused = {"jku", "jwk",      "x5u",  "x5c",
                                                               "x5t", "x5t#S256", "crit", "b64"};
  for (const auto name : kRefused)
    if (header.contains(json::string_view(name.data(), name.size()))) return false;
  // Zip and nested content are for other profiles.
  if (header.contains("zip") || header.contains("cty") || header.contains("enc")) return false;
  if (!header.contains("typ")) return true;
  const auto* typ = string_member(header, "typ");
  if (typ == nullptr) return false;
  const std::string kind = lower({typ->data(), typ->size()});
  return kind == "jwt" || kind == "at+jwt" || kind == "application/at+jwt";
}

// A NumericDate; whole or fractional seconds, rounded down. Nothing when it is no such number.
std::optional<std::int64_t> numeric_date(const json::value& value) {
  if (const auto* i = value.if_int64())
    return *i >= 0 && *i <= kMaxTime ? std::optional(*i) : std::nullopt;
  if (const auto* d = value.if_double())
    return *d >= 0 && *d <= static_cast<double>(kMaxTime)
               ? std::optional(static_cast<std::int64_t>(*d))
               : std::nullopt;
  return {};
}

bool audience_allowed(const json::object& claims, const std::string& wanted) {
  const auto* aud = claims.if_contains("aud");
  if (aud == nullptr) return wanted.empty();
  const std::string expected = wanted.empty() ? "soma" : wanted;
  const auto equal = [&](const json::value& v) {
    const auto* s = v.if_string();
    return s != nullptr && std::string_view(s->data(), s->size()) == expected;
  };
  if (const auto* list = aud->if_array()) {
    // Every entry must be a string, else the claim is malformed, whatever else it holds.
    if (!std::ranges::all_of(*list, [](const json::value& v) { return v.is_string(); }))
      return false;
    return std::ranges::any_of(*list, equal);
  }
  return equal(*aud);
}

bool issuer_allowed(const json::object& claims, const std::string& wanted) {
  const auto* iss = claims.if_contains("iss");
  if (iss == nullptr) return wanted.empty();
  const auto* text = iss->if_string();
  return text != nullptr &&
         (wanted.empty() || std::string_view(text->data(), text->size()) == wanted);
}

bool read_capabilities(const json::value& value, std::vector<std::string>& out) {
  const auto* list = value.if_array();
  if (list == nullptr || list->size() > kMaxCapabilities) return false;
  for (const auto& entry : *list) {
    const auto* text = entry.if_string();
    if (text == nullptr || !is_valid_capability({text->data(), text->size()})) return false;
    out.emplace_back(text->data(), text->size());
  }
  return true;
}

enum class Verdict { kGood, kInvalid, kExpired };

Verdict check_times(const json::object& claims, const ClaimRules& rules, Claims& out) {
  const auto exp = numeric_date(claims.at("exp"));
  const auto iat = numeric_date(claims.at("iat"));
  if (!exp || !iat || *iat > rules.now_s + kLeewaySeconds) return Verdict::kInvalid;
  if (const auto* value = claims.if_contains("nbf")) {
    const auto nbf = numeric_date(*value);
    if (!nbf || *nbf > rules.now_s + kLeewaySeconds) return Verdict::kInvalid;
  }
  if (*exp < *iat) return Verdict::kInvalid;
  if (*exp + kLeewaySeconds <= rules.now_s) return Verdict::kExpired;
  out.expires_s = *exp;
  out.issued_s = *iat;
  return Verdict::kGood;
}

// Absent: empty. False when it is there but no clean string.
bool optional_text(const json::object& claims, std::string_view name, std::string& out) {
  if (!claims.contains(json::string_view(name.data(), name.size()))) return true;
  const auto* text = string_member(claims, name);
  if (text == nullptr || (!text->empty() && !clean_name({text->data(), text->size()})))
    return false;
  out.assign(text->data(), text->size());
  return true;
}

}  // namespace

bool is_reserved_tenant(std::string_view tenant) {
  return tenant.starts_with('_') || tenant.starts_with('$');
}

std::optional<ParsedToken> parse_token(std::string_view token) {
  if (token.empty() || token.size() > kMaxTokenBytes) return {};
  const auto first = token.find('.');
  if (first == token.npos) return {};
  const auto second = token.find('.', first + 1);
  if (second == token.npos || token.find('.', second + 1) != token.npos) return {};
  const auto header_text = base64url_decode(token.substr(0, first));
  auto payload = base64url_decode(token.substr(first + 1, second - first - 1));
  auto signature = base64url_decode(token.substr(second + 1));
  if (!header_text || !payload || !signature || signature->empty()) return {};
  const auto header = parse_object(*header_text);
  if (!header || !header_allowed(*header)) return {};
  const auto* alg = string_member(*header, "alg");
  if (alg == nullptr) return {};
  const auto algorithm = algorithm_of({alg->data(), alg->size()});
  if (!algorithm) return {};
  ParsedToken out;
  out.algorithm = *algorithm;
  if (header->contains("kid")) {
    const auto* kid = string_member(*header, "kid");
    if (kid == nullptr || kid->empty() || kid->size() > kMaxKeyId) return {};
    out.key_id.emplace(kid->data(), kid->size());
  }
  out.payload = std::move(*payload);
  out.signature = std::move(*signature);
  out.signed_bytes = token.substr(0, second);
  return out;
}

Result<Claims> check_claims(std::string_view payload, const ClaimRules& rules) {
  const auto invalid = fail(Code::kUnauthenticated, "Invalid token");
  const auto claims = parse_object(payload);
  if (!claims) return invalid;
  for (const char* name : {"sub", "tenant_id", "capabilities", "exp", "iat", "jti"}) {
    const auto* value = claims->if_contains(name);
    if (value == nullptr || value->is_null())
      return fail(Code::kUnauthenticated, "Incomplete token claims");
    if (value->is_string() && value->get_string().empty())
      return fail(Code::kUnauthenticated, "Incomplete token claims");
  }
  Claims out;
  // Expiry is told before other faults of the content: a client must know to renew.
  const Verdict times = check_times(*claims, rules, out);
  if (times == Verdict::kExpired) return fail(Code::kUnauthenticated, "Token expired");
  const auto* sub = string_member(*claims, "sub");
  const auto* tenant = string_member(*claims, "tenant_id");
  const auto* jti = string_member(*claims, "jti");
  if (times == Verdict::kInvalid || sub == nullptr || tenant == nullptr || jti == nullptr)
    return invalid;
  out.subject.assign(sub->data(), sub->size());
  out.tenant.assign(tenant->data(), tenant->size());
  out.token_id.assign(jti->data(), jti->size());
  if (is_reserved_tenant(out.tenant))
    return fail(Code::kUnauthenticated,
                "Invalid token: tenants whose names begin with _ or $ are reserved");
  if (!clean_name(out.subject) || !clean_tenant(out.tenant) || !clean_name(out.token_id) ||
      !read_capabilities(claims->at("capabilities"), out.capabilities) ||
      !audience_allowed(*claims, rules.audience) || !issuer_allowed(*claims, rules.issuer) ||
      !optional_text(*claims, "client_type", out.client_type) ||
      !optional_text(*claims, "constitution_hash", out.constitution_hash))
    return invalid;
  // ID and refresh tokens of identity providers are no access tokens.
  if (const auto* use = claims->if_contains("token_use"); use != nullptr && *use != "access")
    return invalid;
  return out;
}

std::string unsigned_token(std::string_view header_json, std::string_view payload_json) {
  return base64url_encode(header_json) + '.' + base64url_encode(payload_json);
}

}  // namespace soma::runtime::security
