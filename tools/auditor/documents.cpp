// Ed25519 and compact JWS.
#include "tools/auditor/documents.h"

#include <openssl/evp.h>

#include <boost/json.hpp>
#include <fstream>
#include <iterator>
#include <memory>

#include "runtime/security/base64url.h"
#include "schemas/base/sha256.h"

namespace soma::auditor {

namespace json = boost::json;
using runtime::security::base64url_decode;
using runtime::security::base64url_encode;

namespace {

constexpr std::size_t kMostKeyFile = 256 * 1024;

// Of an Ed25519 key in DER: SubjectPublicKeyInfo is this and the 32 bytes.
constexpr char kSpkiPrefix[] = "\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

std::string thumbprint(const std::string& raw) {
  return base64url_encode(
      sha256(R"({"crv":"Ed25519","kty":"OKP","x":")" + base64url_encode(raw) + R"("})"));
}

bool verify(const std::string& raw, std::string_view text, const std::string& signature) {
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr,
                                  reinterpret_cast<const unsigned char*>(raw.data()), raw.size()),
      EVP_PKEY_free);
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        EVP_MD_CTX_free);
  return key && context && signature.size() == 64 &&
         EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
         EVP_DigestVerify(context.get(), reinterpret_cast<const unsigned char*>(signature.data()),
                          signature.size(), reinterpret_cast<const unsigned char*>(text.data()),
                          text.size()) == 1;
}

std::optional<json::object> parsed(std::string_view bytes) {
  boost::system::error_code bad;
  json::value v = json::parse(bytes, bad);
  if (bad || !v.is_object()) return {};
  return std::move(v.get_object());
}

std::optional<PublicKey> pem_key(const std::string& pem) {
  static constexpr char kBegin[] = "-----BEGIN PUBLIC KEY-----";
  const auto begin = pem.find(kBegin), end = pem.find("-----END PUBLIC KEY-----");
  if (begin == pem.npos || end == pem.npos || end < begin) return {};
  std::string body;
  for (char c : pem.substr(begin + sizeof kBegin - 1, end - begin - sizeof kBegin + 1))
    if (c != '\n' && c != '\r' && c != '=') body += c == '+' ? '-' : c == '/' ? '_' : c;
  const auto der = base64url_decode(body);
  const std::string prefix(kSpkiPrefix, sizeof kSpkiPrefix - 1);
  if (!der || der->size() != prefix.size() + 32 || !der->starts_with(prefix)) return {};
  const std::string raw = der->substr(prefix.size());
  return PublicKey{raw, thumbprint(raw)};
}

}  // namespace

std::string text(const json::object& o, std::string_view name) {
  const auto* v = o.if_contains(name);
  return v && v->is_string() ? std::string(v->get_string()) : std::string();
}

std::optional<std::uint64_t> number(const json::object& o, std::string_view name) {
  const auto* v = o.if_contains(name);
  if (v && v->is_int64() && v->get_int64() >= 0) return static_cast<std::uint64_t>(v->get_int64());
  return v && v->is_uint64() ? std::optional(v->get_uint64()) : std::nullopt;
}

std::optional<std::string> unhex(std::string_view text) {
  if (text.size() != 64) return {};
  std::string out(32, '\0');
  for (std::size_t i = 0; i < 64; ++i) {
    const char c = text[i];
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return {};
    out[i / 2] = static_cast<char>(out[i / 2] << 4 | digit);
  }
  return out;
}

std::optional<PublicKey> key_of(const json::value& jwk) {
  const auto* o = jwk.if_object();
  if (!o || text(*o, "kty") != "OKP" || text(*o, "crv") != "Ed25519" ||
      text(*o, "alg") != "EdDSA" || text(*o, "use") != "sig")
    return {};
  const auto raw = base64url_decode(text(*o, "x"));
  if (!raw || raw->size() != 32 || text(*o, "kid") != thumbprint(*raw)) return {};
  return PublicKey{*raw, thumbprint(*raw)};
}

std::vector<std::string> trusted_ids(const std::string& given) {
  std::ifstream in(given, std::ios::binary);
  if (!in) {
    const auto bytes = base64url_decode(given);
    return bytes && bytes->size() == 32 ? std::vector{given} : std::vector<std::string>{};
  }
  std::string file(kMostKeyFile, '\0');
  in.read(file.data(), static_cast<std::streamsize>(file.size()));
  file.resize(static_cast<std::size_t>(in.gcount()));
  std::vector<std::string> out;
  if (const auto pem = pem_key(file)) return {pem->id};
  const auto o = parsed(file);
  if (!o) return out;
  if (const auto one = key_of(json::value(*o))) return {one->id};
  if (const auto* keys = o->if_contains("keys"); keys && keys->is_array())
    for (const auto& k : keys->get_array())
      if (const auto one = key_of(k)) out.push_back(one->id);
  return out;
}

std::optional<json::object> open_document(std::string_view jws, std::string_view type,
                                          const PublicKey& key) {
  const auto first = jws.find('.'), last = jws.rfind('.');
  if (first == jws.npos || first == last) return {};
  const auto head = base64url_decode(jws.substr(0, first));
  const auto payload = base64url_decode(jws.substr(first + 1, last - first - 1));
  const auto signature = base64url_decode(jws.substr(last + 1));
  if (!head || !payload || !signature) return {};
  const auto header = parsed(*head);
  if (!header || text(*header, "alg") != "EdDSA" || text(*header, "typ") != type ||
      text(*header, "kid") != key.id)
    return {};
  if (!verify(key.raw, jws.substr(0, last), *signature)) return {};
  return parsed(*payload);
}

}  // namespace soma::auditor
