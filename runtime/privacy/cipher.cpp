// Contexts are kept by thread: to make one costs more than to encrypt a few hundred bytes.
#include "runtime/privacy/cipher.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <cstdlib>
#include <memory>

namespace soma::runtime::privacy {

namespace {

using Context = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;

const EVP_CIPHER* algorithm() {
  static EVP_CIPHER* const aes = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  return aes;
}

EVP_CIPHER_CTX* context() {
  thread_local const Context c(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
  return c.get();
}

const unsigned char* in(std::string_view s) {
  return reinterpret_cast<const unsigned char*>(s.data());
}
unsigned char* out(std::string& s, std::size_t at) {
  return reinterpret_cast<unsigned char*>(s.data()) + at;
}
void must(bool ok) {
  if (!ok) std::abort();  // no memory, or no such algorithm: nothing here can go on
}

}  // namespace

std::string random_bytes(std::size_t size) {
  std::string bytes(size, '\0');
  must(RAND_bytes(out(bytes, 0), static_cast<int>(size)) == 1);
  return bytes;
}

std::string encrypt(std::string_view key, std::string_view aad, std::string_view plain) {
  std::string sealed = random_bytes(kNonceBytes);
  sealed.resize(kNonceBytes + plain.size() + kTagBytes);
  auto* c = context();
  int n = 0;
  must(EVP_EncryptInit_ex2(c, algorithm(), in(key), in(sealed), nullptr) == 1);
  must(EVP_EncryptUpdate(c, nullptr, &n, in(aad), static_cast<int>(aad.size())) == 1);
  must(EVP_EncryptUpdate(c, out(sealed, kNonceBytes), &n, in(plain),
                         static_cast<int>(plain.size())) == 1);
  must(EVP_EncryptFinal_ex(c, out(sealed, kNonceBytes + plain.size()), &n) == 1);
  must(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, kTagBytes,
                           out(sealed, kNonceBytes + plain.size())) == 1);
  return sealed;
}

std::optional<std::string> decrypt(std::string_view key, std::string_view aad,
                                   std::string_view sealed) {
  if (sealed.size() < kNonceBytes + kTagBytes) return {};
  const std::size_t size = sealed.size() - kNonceBytes - kTagBytes;
  std::string plain(size, '\0'), tag(sealed.substr(kNonceBytes + size));
  auto* c = context();
  int n = 0;
  must(EVP_DecryptInit_ex2(c, algorithm(), in(key), in(sealed), nullptr) == 1);
  must(EVP_DecryptUpdate(c, nullptr, &n, in(aad), static_cast<int>(aad.size())) == 1);
  must(EVP_DecryptUpdate(c, out(plain, 0), &n, in(sealed.substr(kNonceBytes, size)),
                         static_cast<int>(size)) == 1);
  must(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, kTagBytes, tag.data()) == 1);
  unsigned char last[16];
  if (EVP_DecryptFinal_ex(c, last, &n) != 1) return {};
  return plain;
}

std::string hmac_sha256(std::string_view key, std::string_view text) {
  std::string mac(32, '\0');
  unsigned int n = 0;
  must(HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), in(text), text.size(),
            out(mac, 0), &n) != nullptr);
  return mac;
}

void wipe(std::string& secret) {
  OPENSSL_cleanse(secret.data(), secret.size());
  secret.clear();
}

}  // namespace soma::runtime::privacy
