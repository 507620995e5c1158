// The one cipher, by a published vector; and what is changed does not check.
#include "runtime/privacy/cipher.h"

#include <gtest/gtest.h>

#include "schemas/base/unhex.h"

namespace soma::runtime::privacy {
namespace {

std::string bytes(const std::string& hex) { return unhex(hex).value(); }

// Test case 16 of McGrew and Viega, The Galois/Counter Mode of Operation: AES-256 with associated
// data.
TEST(Cipher, IsAes256Gcm) {
  const std::string key = bytes("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
  const std::string aad = bytes("feedfacedeadbeeffeedfacedeadbeefabaddad2");
  const std::string plain = bytes(
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6"
      "b525b16aedf5aa0de657ba637b39");
  const std::string sealed = bytes(
      "cafebabefacedbaddecaf888"
      "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b105682"
      "8838c5f61e6393ba7a0abcc9f662"
      "76fc6ece0f4e1768cddf8853bb2d551b");
  EXPECT_EQ(decrypt(key, aad, sealed), plain);
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    std::string changed = sealed;
    changed[i] ^= 1;
    EXPECT_FALSE(decrypt(key, aad, changed)) << i;
  }
  EXPECT_FALSE(decrypt(key, aad + 'x', sealed));
}

TEST(Cipher, EachMessageHasANonceOfItsOwn) {
  const std::string key(kKeyBytes, 'k');
  const std::string one = encrypt(key, "", "plain"), two = encrypt(key, "", "plain");
  EXPECT_EQ(one.size(), kNonceBytes + 5 + kTagBytes);
  EXPECT_NE(one.substr(0, kNonceBytes), two.substr(0, kNonceBytes));
  EXPECT_EQ(decrypt(key, "", one), "plain");
  EXPECT_EQ(decrypt(key, "", two), "plain");
}

}  // namespace
}  // namespace soma::runtime::privacy
