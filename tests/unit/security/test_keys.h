// Test keys of every algorithm, and tokens signed with them whatever their header says.
#pragma once

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <memory>
#include <string>
#include <string_view>

#include "runtime/security/base64url.h"
#include "runtime/security/keys.h"

namespace soma::runtime::security {

inline const std::string kSecret = "an hs256 secret of at least 32 bytes";

class TestKeys {
 public:
  TestKeys()
      : rsa_(EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", static_cast<std::size_t>(2048)),
             EVP_PKEY_free),
        other_rsa_(EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", static_cast<std::size_t>(2048)),
                   EVP_PKEY_free),
        ec_(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"), EVP_PKEY_free),
        ed_(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"), EVP_PKEY_free) {}

  std::string jwks() const {
    return R"({"keys":[)" + rsa_jwk() + ',' + ec_jwk() + ',' + ed_jwk() + "]}";
  }
  std::string rsa_jwk(const std::string& kid = "rsa") const {
    return R"({"kty":"RSA","kid":")" + kid + R"(","n":")" +
           number(rsa_.get(), OSSL_PKEY_PARAM_RSA_N) + R"(","e":")" +
           number(rsa_.get(), OSSL_PKEY_PARAM_RSA_E) + "\"}";
  }
  std::string ec_jwk() const {
    return R"({"kty":"EC","crv":"P-256","kid":"ec","x":")" +
           number(ec_.get(), OSSL_PKEY_PARAM_EC_PUB_X, 32) + R"(","y":")" +
           number(ec_.get(), OSSL_PKEY_PARAM_EC_PUB_Y, 32) + "\"}";
  }
  std::string ed_jwk() const {
    unsigned char raw[32];
    std::size_t size = sizeof raw;
    EVP_PKEY_get_raw_public_key(ed_.get(), raw, &size);
    return R"({"kty":"OKP","crv":"Ed25519","kid":"ed","x":")" +
           base64url_encode({reinterpret_cast<char*>(raw), size}) + "\"}";
  }
  // The public key as an attacker would get it, for the confusion attack.
  std::string rsa_public_pem() const {
    std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), BIO_free);
    PEM_write_bio_PUBKEY(bio.get(), rsa_.get());
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &data);
    return {data, static_cast<std::size_t>(size)};
  }
  std::string rsa_modulus() const { return number(rsa_.get(), OSSL_PKEY_PARAM_RSA_N); }

  std::string rs256(std::string_view text) const { return sign(rsa_.get(), EVP_sha256(), text); }
  std::string rs256_other(std::string_view text) const {
    return sign(other_rsa_.get(), EVP_sha256(), text);
  }
  std::string rs512(std::string_view text) const { return sign(rsa_.get(), EVP_sha512(), text); }
  std::string eddsa(std::string_view text) const { return sign(ed_.get(), nullptr, text); }
  std::string es256_der(std::string_view text) const { return sign(ec_.get(), EVP_sha256(), text); }
  std::string es256(std::string_view text) const {
    const std::string der = es256_der(text);
    const auto* begin = reinterpret_cast<const unsigned char*>(der.data());
    std::unique_ptr<ECDSA_SIG, decltype(&ECDSA_SIG_free)> sig(
        d2i_ECDSA_SIG(nullptr, &begin, static_cast<long>(der.size())), ECDSA_SIG_free);
    unsigned char raw[64];
    BN_bn2binpad(ECDSA_SIG_get0_r(sig.get()), raw, 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(sig.get()), raw + 32, 32);
    return {reinterpret_cast<char*>(raw), sizeof raw};
  }
  static std::string hs256(std::string_view text, const std::string& secret = kSecret) {
    Key key;
    key.algorithm = Algorithm::kHs256;
    key.secret = secret;
    return sign_key(key, text);
  }

 private:
  using Pkey = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
  static std::string sign_key(const Key& key, std::string_view text) {
    return security::sign(key, text).value();
  }
  static std::string sign(EVP_PKEY* key, const EVP_MD* md, std::string_view text) {
    std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                    EVP_MD_CTX_free);
    EVP_DigestSignInit(context.get(), nullptr, md, nullptr, key);
    std::string out(1024, '\0');
    std::size_t size = out.size();
    EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(out.data()), &size,
                   reinterpret_cast<const unsigned char*>(text.data()), text.size());
    out.resize(size);
    return out;
  }
  static std::string number(EVP_PKEY* key, const char* name, int pad = 0) {
    BIGNUM* raw = nullptr;
    EVP_PKEY_get_bn_param(key, name, &raw);
    std::unique_ptr<BIGNUM, decltype(&BN_free)> n(raw, BN_free);
    std::string bytes(static_cast<std::size_t>(pad > 0 ? pad : BN_num_bytes(raw)), '\0');
    BN_bn2binpad(raw, reinterpret_cast<unsigned char*>(bytes.data()),
                 static_cast<int>(bytes.size()));
    return base64url_encode(bytes);
  }
  Pkey rsa_;
  Pkey other_rsa_;
  Pkey ec_;
  Pkey ed_;
};

}  // namespace soma::runtime::security
