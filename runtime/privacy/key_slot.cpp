// State, id, who, sealed key, checksum.
#include "runtime/privacy/key_slot.h"

#include "runtime/privacy/cipher.h"
#include "schemas/base/sha256.h"

namespace soma::runtime::privacy {

namespace {

constexpr std::size_t kHead = 4, kIdBytes = 16, kWhoBytes = 32, kCheckBytes = 16;
constexpr std::size_t kSealedBytes = kNonceBytes + kKeyBytes + kTagBytes;
constexpr char kLive = 1, kGone = 2;

}  // namespace

std::string KeySlot::bytes() const {
  std::string out(1, gone ? kGone : kLive);
  out.resize(kHead, '\0');
  out += id + who + sealed;
  out.resize(kBytes - kCheckBytes, '\0');
  out += sha256(out).substr(0, kCheckBytes);
  return out;
}

KeySlot KeySlot::destroyed(std::string id) {
  return {true, std::move(id), std::string(kWhoBytes, '\0'), std::string(kSealedBytes, '\0')};
}

std::optional<KeySlot> KeySlot::parse(std::string_view bytes) {
  if (bytes.size() != kBytes ||
      sha256(std::string(bytes.substr(0, kBytes - kCheckBytes))).substr(0, kCheckBytes) !=
          bytes.substr(kBytes - kCheckBytes))
    return {};
  return KeySlot{bytes[0] == kGone, std::string(bytes.substr(kHead, kIdBytes)),
                 std::string(bytes.substr(kHead + kIdBytes, kWhoBytes)),
                 std::string(bytes.substr(kHead + kIdBytes + kWhoBytes, kSealedBytes))};
}

std::string key_owner(const std::string& master, const std::string& tenant,
                      const std::string& subject) {
  return hmac_sha256(master, std::to_string(tenant.size()) + ":" + tenant + subject);
}

}  // namespace soma::runtime::privacy
