// Fuzzes sets of verification keys: every key that is taken is sound and verifies nothing that it
// has not signed; one set read twice is the same.
#include <openssl/evp.h>

#include <cstdint>
#include <set>
#include <string_view>

#include "runtime/security/keys.h"
#include "tests/fuzz/check.h"

using namespace soma;
using namespace soma::runtime::security;
using soma::fuzz::check;

namespace {

void sound(const Key& key) {
  if (key.algorithm == Algorithm::kHs256) {
    check(key.secret.size() >= 32 && key.pkey == nullptr);
    const auto signature = sign(key, "said");
    check(signature && verify_signature(key, "said", *signature));
    check(!verify_signature(key, "other", *signature));
  } else {
    check(key.pkey != nullptr && key.secret.empty());
    check(key.algorithm != Algorithm::kRs256 || EVP_PKEY_get_bits(key.pkey.get()) >= 2048);
    check(!sign(key, "said") || key.algorithm == Algorithm::kEdDsa);
  }
  for (const std::size_t length : {0, 1, 63, 64, 70, 256})
    check(!verify_signature(key, "said", std::string(length, '\x30')));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto keys = parse_jwks(text);
  if (!keys) return check(!keys.error().message.empty()), 0;
  check(!keys->empty() && keys->size() <= kMaxKeys);
  std::set<std::string> ids;
  for (const auto& key : *keys) {
    check(key.id.empty() || ids.insert(key.id).second);
    sound(key);
  }
  const auto again = parse_jwks(text);
  check(again && again->size() == keys->size());
  return 0;
}
