// SHA-256 and hex.
#include "schemas/base/sha256.h"

#include <openssl/evp.h>

#include <cstdlib>
#include <memory>

namespace soma {

// The one-shot functions look the algorithm up by name in every call, which takes longer than to
// hash a few hundred bytes.
std::string sha256(std::string_view bytes) {
  static EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  thread_local const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(
      EVP_MD_CTX_new(), EVP_MD_CTX_free);
  std::string out(32, '\0');
  if (EVP_DigestInit_ex2(context.get(), algorithm, nullptr) != 1 ||
      EVP_DigestUpdate(context.get(), bytes.data(), bytes.size()) != 1 ||
      EVP_DigestFinal_ex(context.get(), reinterpret_cast<unsigned char*>(out.data()), nullptr) != 1)
    std::abort();  // no memory, or no SHA-256: nothing here can go on
  return out;
}

std::string hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out(bytes.size() * 2, '0');
  char* to = out.data();
  for (unsigned char c : bytes) {
    *to++ = kDigits[c >> 4];
    *to++ = kDigits[c & 15];
  }
  return out;
}

std::string sha256_hex(std::string_view bytes) { return hex(sha256(bytes)); }

}  // namespace soma
