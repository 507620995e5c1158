// Signatures of the four algorithms and the node's Ed25519 keys, over OpenSSL 3 EVP.
#include "runtime/security/keys.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "runtime/security/base64url.h"
#include "schemas/base/sha256.h"

namespace soma::runtime::security {
namespace {

using MdContext = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;
using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

std::string hmac_sha256(const std::string& secret, std::string_view text) {
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()), bytes_of(text),
           text.size(), out, &size) == nullptr)
    return {};
  return {reinterpret_cast<char*>(out), size};
}

// JWS carries r and s as 32 bytes each; OpenSSL wants them in DER.
std::string ecdsa_der(std::string_view raw) {
  if (raw.size() != 64) return {};
  std::unique_ptr<ECDSA_SIG, decltype(&ECDSA_SIG_free)> sig(ECDSA_SIG_new(), ECDSA_SIG_free);
  BIGNUM* r = BN_bin2bn(bytes_of(raw), 32, nullptr);
  BIGNUM* s = BN_bin2bn(bytes_of(raw) + 32, 32, nullptr);
  if (!sig || r == nullptr || s == nullptr || ECDSA_SIG_set0(sig.get(), r, s) != 1) {
    BN_free(r);
    BN_free(s);
    return {};
  }
  unsigned char* der = nullptr;
  const int size = i2d_ECDSA_SIG(sig.get(), &der);
  std::string out;
  if (size > 0) out.assign(reinterpret_cast<char*>(der), static_cast<std::size_t>(size));
  OPENSSL_free(der);
  return out;
}

bool verify_evp(const Key& key, std::string_view text, std::string_view signature) {
  MdContext context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  const EVP_MD* md = key.algorithm == Algorithm::kEdDsa ? nullptr : EVP_sha256();
  return context &&
         EVP_DigestVerifyInit(context.get(), nullptr, md, nullptr, key.pkey.get()) == 1 &&
         EVP_DigestVerify(context.get(), bytes_of(signature), signature.size(), bytes_of(text),
                          text.size()) == 1;
}

Result<std::string> raw_public(const Key& key) {
  unsigned char raw[32];
  std::size_t size = sizeof raw;
  if (key.algorithm != Algorithm::kEdDsa ||
      EVP_PKEY_get_raw_public_key(key.pkey.get(), raw, &size) != 1 || size != 32)
    return fail(Code::kNotSupported, "only Ed25519 keys have this form");
  return std::string(reinterpret_cast<char*>(raw), size);
}

Result<Key> finish_ed25519(EVP_PKEY* pkey) {
  Key key;
  key.algorithm = Algorithm::kEdDsa;
  key.pkey.reset(pkey, EVP_PKEY_free);
  auto raw = raw_public(key);
  if (!raw) return tl::unexpected(raw.error());
  key.id = base64url_encode(
      sha256(R"({"crv":"Ed25519","kty":"OKP","x":")" + base64url_encode(*raw) + "\"}"));
  return key;
}

}  // namespace

std::string_view algorithm_name(Algorithm algorithm) {
  switch (algorithm) {
    case Algorithm::kHs256:
      return "HS256";
    case Algorithm::kRs256:
      return "RS256";
    case Algorithm::kEs256:
      return "ES256";
    case Algorithm::kEdDsa:
      return "EdDSA";
  }
  return "";
}

Result<Key> hs256_key(std::string secret, std::string id) {
  if (secret.size() < 32)
    return fail(Code::kInvalidArgument, "an HS256 secret must have at least 32 bytes");
  Key key;
  key.id = std::move(id);
  key.algorithm = Algorithm::kHs256;
  key.secret = std::move(secret);
  return key;
}

Result<Key> generate_ed25519() {
  EVP_PKEY* pkey = EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
  if (pkey == nullptr) return fail(Code::kInternal, "cannot make an Ed25519 key");
  return finish_ed25519(pkey);
}

Result<Key> ed25519_from_pem(const std::string& pem) {
  Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
  // An encrypted key must fail, not ask the terminal for its pass phrase.
  const auto no_password = [](char*, int, int, void*) { return -1; };
  EVP_PKEY* pkey = PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr);
  if (pkey == nullptr) return fail(Code::kInvalidArgument, "no PEM private key");
  if (EVP_PKEY_is_a(pkey, "ED25519") != 1) {
    EVP_PKEY_free(pkey);
    return fail(Code::kInvalidArgument, "no Ed25519 key");
  }
  return finish_ed25519(pkey);
}

Result<Key> public_key_from_pem(const std::string& pem) {
  Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
  EVP_PKEY* pkey = PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr);
  if (pkey == nullptr) {
    Bio again(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
    std::unique_ptr<X509, decltype(&X509_free)> certificate(
        PEM_read_bio_X509(again.get(), nullptr, nullptr, nullptr), X509_free);
    if (certificate) pkey = X509_get_pubkey(certificate.get());
  }
  if (pkey == nullptr) return fail(Code::kInvalidArgument, "no PEM public key or certificate");
  Key key;
  key.pkey.reset(pkey, EVP_PKEY_free);
  if (EVP_PKEY_is_a(pkey, "ED25519") == 1)
    key.algorithm = Algorithm::kEdDsa;
  else if (EVP_PKEY_is_a(pkey, "RSA") == 1 && EVP_PKEY_get_bits(pkey) >= 2048)
    key.algorithm = Algorithm::kRs256;
  else
    return fail(Code::kInvalidArgument, "neither an Ed25519 key nor an RSA key of 2048 bits");
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(pkey, &der);
  if (size <= 0) return fail(Code::kInternal, "a public key that cannot be written");
  key.id = sha256_hex({reinterpret_cast<char*>(der), static_cast<std::size_t>(size)}).substr(0, 16);
  OPENSSL_free(der);
  return key;
}

Result<std::string> private_pem(const Key& key) {
  Bio bio(BIO_new(BIO_s_secmem()), BIO_free);
  if (!bio || PEM_write_bio_PKCS8PrivateKey(bio.get(), key.pkey.get(), nullptr, nullptr, 0, nullptr,
                                            nullptr) != 1)
    return fail(Code::kInternal, "cannot write the private key");
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<std::size_t>(size));
}

Result<std::string> public_jwk(const Key& key) {
  auto raw = raw_public(key);
  if (!raw) return tl::unexpected(raw.error());
  return R"({"kty":"OKP","crv":"Ed25519","x":")" + base64url_encode(*raw) + R"(","kid":")" +
         key.id + R"(","alg":"EdDSA","use":"sig"})";
}

bool verify_signature(const Key& key, std::string_view text, std::string_view signature) {
  switch (key.algorithm) {
    case Algorithm::kHs256: {
      const std::string expected = hmac_sha256(key.secret, text);
      return expected.size() == 32 && signature.size() == 32 &&
             CRYPTO_memcmp(expected.data(), signature.data(), 32) == 0;
    }
    case Algorithm::kEs256: {
      const std::string der = ecdsa_der(signature);
      return !der.empty() && verify_evp(key, text, der);
    }
    case Algorithm::kEdDsa:
      return signature.size() == 64 && verify_evp(key, text, signature);
    case Algorithm::kRs256:
      return signature.size() == static_cast<std::size_t>(EVP_PKEY_get_size(key.pkey.get())) &&
             verify_evp(key, text, signature);
  }
  return false;
}

Result<std::string> sign(const Key& key, std::string_view text) {
  if (key.algorithm == Algorithm::kHs256) {
    auto out = hmac_sha256(key.secret, text);
    if (out.empty()) return fail(Code::kInternal, "cannot sign");
    return out;
  }
  if (key.algorithm != Algorithm::kEdDsa)
    return fail(Code::kNotSupported, "tokens are signed with EdDSA or HS256 only");
  MdContext context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  std::string out(64, '\0');
  std::size_t size = out.size();
  if (!context ||
      EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key.pkey.get()) != 1 ||
      EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(out.data()), &size,
                     bytes_of(text), text.size()) != 1 ||
      size != 64)
    return fail(Code::kInternal, "cannot sign");
  return out;
}

}  // namespace soma::runtime::security
