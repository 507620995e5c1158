// JWKS (RFC 7517) to verification keys; strict about what is accepted.
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/value.hpp>
#include <optional>

#include "runtime/security/base64url.h"
#include "runtime/security/json_object.h"
#include "runtime/security/keys.h"

namespace soma::runtime::security {
namespace {

namespace json = boost::json;
using Bignum = std::unique_ptr<BIGNUM, decltype(&BN_free)>;
using Builder = std::unique_ptr<OSSL_PARAM_BLD, decltype(&OSSL_PARAM_BLD_free)>;
using Params = std::unique_ptr<OSSL_PARAM, decltype(&OSSL_PARAM_free)>;
using PkeyContext = std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)>;
using Pkey = std::shared_ptr<EVP_PKEY>;

std::string text_of(const json::object& jwk, const char* name) {
  const auto* value = jwk.if_contains(name);
  if (value == nullptr || !value->is_string()) return {};
  return {value->get_string().data(), value->get_string().size()};
}

std::optional<std::string> bytes_member(const json::object& jwk, const char* name) {
  const std::string text = text_of(jwk, name);
  if (text.empty()) return {};
  return base64url_decode(text);
}

Pkey from_params(const char* type, OSSL_PARAM_BLD* builder) {
  Params params(OSSL_PARAM_BLD_to_param(builder), OSSL_PARAM_free);
  PkeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr), EVP_PKEY_CTX_free);
  EVP_PKEY* raw = nullptr;
  if (!params || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &raw, EVP_PKEY_PUBLIC_KEY, params.get()) != 1)
    return {};
  Pkey pkey(raw, EVP_PKEY_free);
  PkeyContext check(EVP_PKEY_CTX_new_from_pkey(nullptr, raw, nullptr), EVP_PKEY_CTX_free);
  if (!check || EVP_PKEY_public_check(check.get()) != 1) return {};
  return pkey;
}

Pkey rsa_key(const json::object& jwk) {
  const auto n = bytes_member(jwk, "n");
  const auto e = bytes_member(jwk, "e");
  if (!n || !e || n->size() > 1024 || e->size() > 8) return {};
  const auto number = [](const std::string& bytes) {
    return Bignum(BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()),
                            static_cast<int>(bytes.size()), nullptr),
                  BN_free);
  };
  const Bignum modulus = number(*n);
  const Bignum exponent = number(*e);
  if (!modulus || !exponent || BN_num_bits(modulus.get()) < 2048 || !BN_is_odd(exponent.get()) ||
      BN_is_one(exponent.get()))
    return {};
  Builder builder(OSSL_PARAM_BLD_new(), OSSL_PARAM_BLD_free);
  if (OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, modulus.get()) != 1 ||
      OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, exponent.get()) != 1)
    return {};
  return from_params("RSA", builder.get());
}

Pkey p256_key(const json::object& jwk) {
  const auto x = bytes_member(jwk, "x");
  const auto y = bytes_member(jwk, "y");
  if (!x || !y || x->size() != 32 || y->size() != 32) return {};
  const std::string point = '\x04' + *x + *y;
  Builder builder(OSSL_PARAM_BLD_new(), OSSL_PARAM_BLD_free);
  if (OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) != 1 ||
      OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(),
                                       point.size()) != 1)
    return {};
  return from_params("EC", builder.get());
}

Pkey ed25519_key(const json::object& jwk) {
  const auto x = bytes_member(jwk, "x");
  if (!x || x->size() != 32) return {};
  return Pkey(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr,
                                          reinterpret_cast<const unsigned char*>(x->data()), 32),
              EVP_PKEY_free);
}

Error broken(std::size_t index, const std::string& why) {
  return {Code::kInvalidArgument, "identity.jwks: key " + std::to_string(index) + " " + why,
          "identity.jwks"};
}

// Nothing: a key of a kind we do not use.
Result<std::optional<Key>> read_key(const json::object& jwk, std::size_t index) {
  const std::string kty = text_of(jwk, "kty");
  const std::string crv = text_of(jwk, "crv");
  if (const std::string use = text_of(jwk, "use"); !use.empty() && use != "sig")
    return std::optional<Key>();
  if (kty != "oct" && jwk.contains("d"))
    return tl::unexpected(broken(index, "holds a private key; publish the public members only"));
  Key key;
  key.id = text_of(jwk, "kid");
  if (kty == "RSA") {
    key.algorithm = Algorithm::kRs256;
    key.pkey = rsa_key(jwk);
  } else if (kty == "EC" && crv == "P-256") {
    key.algorithm = Algorithm::kEs256;
    key.pkey = p256_key(jwk);
  } else if (kty == "OKP" && crv == "Ed25519") {
    key.algorithm = Algorithm::kEdDsa;
    key.pkey = ed25519_key(jwk);
  } else if (kty == "oct") {
    key.algorithm = Algorithm::kHs256;
    key.secret = bytes_member(jwk, "k").value_or("");
  } else {
    return std::optional<Key>();
  }
  const std::string alg = text_of(jwk, "alg");
  if (!alg.empty() && alg != algorithm_name(key.algorithm)) return std::optional<Key>();
  if (key.algorithm == Algorithm::kHs256 ? key.secret.size() < 32 : key.pkey == nullptr)
    return tl::unexpected(broken(index, "is broken or too weak"));
  return std::optional<Key>(std::move(key));
}

}  // namespace

Result<std::vector<Key>> parse_jwks(std::string_view text) {
  const auto refuse = [](const char* why) {
    return fail(Code::kInvalidArgument, std::string("identity.jwks ") + why, "identity.jwks");
  };
  if (text.size() > kMaxJwksBytes) return refuse("is larger than 256 KiB");
  const auto set = parse_object(text);
  if (!set) return refuse("is no JSON object, or has duplicate members");
  const auto* list = set->if_contains("keys");
  if (list == nullptr || !list->is_array()) return refuse("has no array `keys`");
  if (list->get_array().size() > kMaxKeys) return refuse("holds more than 64 keys");
  std::vector<Key> keys;
  std::size_t index = 0;
  for (const auto& entry : list->get_array()) {
    if (!entry.is_object()) return tl::unexpected(broken(index, "is no object"));
    auto key = read_key(entry.get_object(), index++);
    if (!key) return tl::unexpected(key.error());
    if (!*key) continue;
    const bool taken = !(*key)->id.empty() &&
                       std::ranges::any_of(keys, [&](const Key& k) { return k.id == (*key)->id; });
    if (taken) return tl::unexpected(broken(index - 1, "has the kid of another key"));
    keys.push_back(std::move(**key));
  }
  if (keys.empty()) return refuse("holds no usable signature key");
  return keys;
}

}  // namespace soma::runtime::security
