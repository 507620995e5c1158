// Every issue of a bundle is found and named; only a bundle without any is ever loaded.
#include "runtime/security/constitution_bundle.h"

#include <boost/json/serialize.hpp>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <iterator>

#include "runtime/security/base64url.h"
#include "runtime/security/canonical_json.h"
#include "schemas/base/sha256.h"
#include "schemas/json/json_read.h"

namespace soma::runtime::security {

namespace json = boost::json;

namespace {

constexpr std::size_t kMaxPemBytes = 64 * 1024;
constexpr std::size_t kMaxRuleEntries = 1000;
constexpr std::size_t kMaxVersionBytes = 100;

// 2026-01-31T09:30:00Z, with a fraction or a numeric offset too. Unix milliseconds.
std::optional<std::int64_t> rfc3339_ms(const std::string& text) {
  std::tm tm{};
  int used = 0;
  if (std::sscanf(text.c_str(), "%4d-%2d-%2d%*1[Tt ]%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon,
                  &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &used) != 6)
    return std::nullopt;
  const char* at = text.c_str() + used;
  std::int64_t ms = 0;
  if (*at == '.') {
    int scale = 100;
    for (++at; *at >= '0' && *at <= '9'; ++at, scale /= 10) ms += (*at - '0') * scale;
  }
  int offset_minutes = 0;
  if (*at == '+' || *at == '-') {
    int hours = 0, minutes = 0, n = 0;
    if (std::sscanf(at + 1, "%2d:%2d%n", &hours, &minutes, &n) != 2) return std::nullopt;
    offset_minutes = (hours * 60 + minutes) * (*at == '-' ? -1 : 1);
    at += 1 + n;
  } else if (*at == 'Z' || *at == 'z') {
    ++at;
  } else {
    return std::nullopt;
  }
  if (*at != '\0' || tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 ||
      tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
    return std::nullopt;
  tm.tm_year -= 1900;
  tm.tm_mon -= 1;
  return (static_cast<std::int64_t>(timegm(&tm)) - offset_minutes * 60) * 1000 + ms;
}

// Base64 in either alphabet, with or without padding.
std::optional<std::string> decode_signature(std::string text) {
  for (char& c : text) c = c == '+' ? '-' : c == '/' ? '_' : c;
  while (!text.empty() && text.back() == '=') text.pop_back();
  return base64url_decode(text);
}

std::string member(const json::object& object, const char* name) {
  const auto* v = object.if_contains(name);
  return v && v->is_string() ? std::string(v->get_string()) : std::string();
}

class Check {
 public:
  explicit Check(CheckedBundle& out) : out_(out), c_(out.constitution) {}

  void rules_only(const std::string& document) {
    auto parsed = read_json_object(document);
    if (!parsed) return issue("the document is " + parsed.error().message);
    rules(json::object{{"document", std::move(*parsed)}});
  }

  void run(const std::string& text, const TrustedKeys& trusted) {
    const auto parsed = read_json_object(text);
    if (!parsed) return issue("the bundle is " + parsed.error().message);
    const auto& bundle = *parsed;
    names(bundle);
    auto document = canonical_document(text);
    if (!document) return issue(document.error().message);
    c_.set_document(*document);
    c_.set_hash(sha256_hex(*document));
    if (const std::string given = member(bundle, "hash"); given.empty())
      issue("hash is missing: it is the hex SHA-256 of the document's canonical JSON, here " +
            c_.hash());
    else if (given != c_.hash())
      issue("hash does not match the document: its canonical JSON has " + c_.hash());
    signature(bundle, trusted);
    rules(bundle);
  }

 private:
  void issue(std::string text) { out_.issues.push_back(std::move(text)); }

  void names(const json::object& bundle) {
    c_.set_version(member(bundle, "version"));
    if (c_.version().empty() || c_.version().size() > kMaxVersionBytes)
      issue("version must be a text of 1 to 100 bytes");
    c_.set_issued_at(member(bundle, "issued_at"));
    if (const auto ms = rfc3339_ms(c_.issued_at()))
      c_.set_issued_ms(*ms);
    else
      issue("issued_at must be a time as 2026-01-31T09:30:00Z");
  }

  void signature(const json::object& bundle, const TrustedKeys& trusted) {
    const auto* s = bundle.if_contains("signature");
    if (!s || !s->is_object())
      return issue("signature is missing: {algorithm, value} over the document's canonical JSON");
    c_.set_algorithm(member(s->get_object(), "algorithm"));
    c_.set_signature(member(s->get_object(), "value"));
    if (c_.algorithm() != "RS256" && c_.algorithm() != "EdDSA")
      return issue("signature.algorithm must be RS256 or EdDSA");
    const auto bytes = decode_signature(c_.signature());
    if (!bytes || bytes->empty()) return issue("signature.value must be base64");
    if (trusted.empty())
      return issue("no key is trusted to sign constitutions: set constitution.trusted_keys");
    c_.set_key_id(trusted.signer(c_.algorithm(), c_.document(), *bytes));
    if (c_.key_id().empty()) issue("signature does not verify with any trusted key");
  }

  void rules(const json::object& bundle) {
    const auto* document = bundle.if_contains("document");
    const auto* rules =
        document && document->is_object() ? document->get_object().if_contains("rules") : nullptr;
    if (!rules) return;
    if (!rules->is_object()) return issue("document.rules must be an object");
    auto& r = *c_.mutable_rules();
    for (const auto& [key, value] : rules->get_object()) {
      if (key == "prohibited_actions") {
        texts("prohibited_actions", value, *r.mutable_prohibited_actions());
      } else if (key == "permitted_tool_categories") {
        r.set_limits_tool_categories(true);
        texts("permitted_tool_categories", value, *r.mutable_permitted_tool_categories());
      } else if (key == "maximum_risk") {
        if (const auto x = risk("maximum_risk", value)) r.set_maximum_risk(*x);
      } else if (key == "human_approval_above_risk") {
        if (const auto x = risk("human_approval_above_risk", value))
          r.set_human_approval_above_risk(*x);
      } else {  // a rule that is not understood would not be kept
        issue("document.rules." + std::string(key) + " is not a rule that this build enforces");
      }
    }
  }

  void texts(const char* name, const json::value& value,
             google::protobuf::RepeatedPtrField<std::string>& out) {
    const std::string field = std::string("document.rules.") + name;
    if (!value.is_array() || value.get_array().size() > kMaxRuleEntries)
      return issue(field + " must be a list of at most 1000 texts");
    for (const auto& v : value.get_array()) {
      if (!v.is_string() || v.get_string().empty())
        return issue(field + " must hold texts only, none of them empty");
      out.Add(std::string(v.get_string()));
    }
  }

  std::optional<double> risk(const char* name, const json::value& value) {
    if (value.is_number()) {
      const double x = value.to_number<double>();
      if (x >= 0 && x <= 1) return x;
    }
    issue(std::string("document.rules.") + name + " must be a number from 0 to 1");
    return std::nullopt;
  }

  CheckedBundle& out_;
  v1::Constitution& c_;
};

}  // namespace

Result<TrustedKeys> TrustedKeys::read(const std::vector<std::string>& files) {
  TrustedKeys out;
  for (const auto& path : files) {
    std::ifstream in(path, std::ios::binary);
    std::string pem{std::istreambuf_iterator<char>(in), {}};
    if (!in && pem.empty())
      return fail(Code::kInvalidArgument, "cannot read " + path, "constitution.trusted_keys");
    if (pem.size() > kMaxPemBytes)
      return fail(Code::kInvalidArgument, path + " is too large for a PEM file",
                  "constitution.trusted_keys");
    auto key = public_key_from_pem(pem);
    if (!key)
      return fail(Code::kInvalidArgument, path + " holds " + key.error().message,
                  "constitution.trusted_keys");
    out.add(std::move(*key));
  }
  return out;
}

bool TrustedKeys::trusts(std::string_view key_id) const {
  for (const auto& key : keys_)
    if (key.id == key_id) return true;
  return false;
}

std::string TrustedKeys::signer(std::string_view algorithm, std::string_view bytes,
                                std::string_view signature) const {
  for (const auto& key : keys_)
    if (algorithm_name(key.algorithm) == algorithm && verify_signature(key, bytes, signature))
      return key.id;
  return {};
}

Result<v1::ConstitutionRules> rules_of(const std::string& document) {
  CheckedBundle out;
  Check(out).rules_only(document);
  if (!out.issues.empty()) return fail(Code::kInvalidArgument, out.issues.front(), "document");
  return out.constitution.rules();
}

CheckedBundle check_bundle(const std::string& text, const TrustedKeys& trusted) {
  CheckedBundle out;
  Check(out).run(text, trusted);
  return out;
}

Result<std::string> canonical_document(const std::string& text) {
  // From the canonical text of the whole: numbers keep every digit, which a parsed value would not.
  auto whole = canonical_json(text);
  if (!whole) return tl::unexpected(whole.error());
  auto document = canonical_member(*whole, "document");
  if (!document)
    return fail(Code::kInvalidArgument, "document is missing: it must be an object",
                "body.document");
  if (!document->starts_with('{'))
    return fail(Code::kInvalidArgument, "document must be an object", "body.document");
  return std::move(*document);
}

std::string bundle_text(const v1::Constitution& c) {
  const auto quoted = [](const std::string& text) { return json::serialize(json::string(text)); };
  return "{\"version\":" + quoted(c.version()) + ",\"issued_at\":" + quoted(c.issued_at()) +
         ",\"document\":" + c.document() + ",\"hash\":" + quoted(c.hash()) +
         ",\"signature\":{\"algorithm\":" + quoted(c.algorithm()) +
         ",\"value\":" + quoted(c.signature()) + "}}";
}

Result<v1::Constitution> sign_constitution(const Key& key, const std::string& document,
                                           const std::string& version, std::int64_t now_ms) {
  auto canonical = canonical_json(document);
  if (!canonical) return tl::unexpected(canonical.error());
  auto signature = sign(key, *canonical);
  if (!signature) return tl::unexpected(signature.error());
  const std::time_t seconds = now_ms / 1000;
  std::tm tm{};
  gmtime_r(&seconds, &tm);
  char issued[32];
  std::strftime(issued, sizeof issued, "%Y-%m-%dT%H:%M:%SZ", &tm);
  v1::Constitution c;
  c.set_version(version);
  c.set_issued_at(issued);
  c.set_document(*canonical);
  c.set_hash(sha256_hex(*canonical));
  c.set_algorithm(std::string(algorithm_name(key.algorithm)));
  c.set_signature(base64url_encode(*signature));
  TrustedKeys itself;
  itself.add(key);
  auto checked = check_bundle(bundle_text(c), itself);
  if (!checked.issues.empty()) return fail(Code::kInvalidArgument, checked.issues.front());
  return std::move(checked.constitution);
}

}  // namespace soma::runtime::security
