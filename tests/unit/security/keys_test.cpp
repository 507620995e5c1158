// Key sets and base64url: what is refused.
#include "runtime/security/keys.h"

#include <gtest/gtest.h>

#include "test_keys.h"

namespace soma::runtime::security {
namespace {

TEST(Base64Url, RoundTripAndOneTextPerValue) {
  std::string bytes;
  for (int i = 0; i < 300; ++i) {
    EXPECT_EQ(base64url_decode(base64url_encode(bytes)), bytes);
    bytes += static_cast<char>(i * 7);
  }
  EXPECT_EQ(base64url_encode("\xFB\xFF"), "-_8");
  for (const char* bad :
       {"A", "AAAAA", "AA==", "AB", "AAB", "A A", "AA+A", "AA/A", "AA\n", "\xC3\xA9"})
    EXPECT_FALSE(base64url_decode(bad).has_value()) << bad;
}

TEST(Jwks, ReadsEveryKind) {
  const TestKeys keys;
  const auto parsed = parse_jwks(keys.jwks());
  ASSERT_TRUE(parsed.has_value()) << parsed.error().message;
  ASSERT_EQ(parsed->size(), 3u);
  EXPECT_TRUE(verify_signature((*parsed)[0], "x", keys.rs256("x")));
  EXPECT_TRUE(verify_signature((*parsed)[1], "x", keys.es256("x")));
  EXPECT_TRUE(verify_signature((*parsed)[2], "x", keys.eddsa("x")));
  EXPECT_FALSE(verify_signature((*parsed)[2], "y", keys.eddsa("x")));
}

TEST(Jwks, UnusableKeysAreSkippedBrokenOnesRefused) {
  const TestKeys keys;
  const auto set = [](const std::string& inner) { return R"({"keys":[)" + inner + "]}"; };
  const std::string enc = R"({"kty":"RSA","use":"enc","n":"AQ","e":"AQAB"})";
  const std::string other = R"({"kty":"EC","crv":"P-521","x":"AA","y":"AA"})";
  EXPECT_EQ(parse_jwks(set(enc + ',' + other + ',' + keys.ed_jwk()))->size(), 1u);
  const std::string zeros = base64url_encode(std::string(32, '\0'));
  for (const std::string& bad :
       {std::string("{"), std::string("[]"), std::string("{}"), std::string(R"({"keys":{}})"),
        set(""), set("1"), set(enc),
        set(R"({"kty":"RSA","n":"AQ","e":"AQAB"})"),  // weak
        set(R"({"kty":"EC","crv":"P-256","x":")" + zeros + R"(","y":")" + zeros +
            "\"}"),                                                 // off the curve
        set(R"({"kty":"OKP","crv":"Ed25519","x":"AA"})"),           // short
        set(R"({"kty":"oct","k":"c2hvcnQ"})"),                      // short secret
        set(R"({"kty":"OKP","crv":"Ed25519","d":"AA","x":"AA"})"),  // private
        set(keys.ed_jwk() + ',' + keys.ed_jwk()),                   // kid twice
        R"({"keys":[],"keys":[)" + keys.ed_jwk() + "]}"}) {
    const auto parsed = parse_jwks(bad);
    ASSERT_FALSE(parsed.has_value()) << bad;
    EXPECT_EQ(parsed.error().field, "identity.jwks");
  }
}

TEST(Keys, PemRoundTrip) {
  const auto key = generate_ed25519();
  ASSERT_TRUE(key.has_value());
  const auto again = ed25519_from_pem(*private_pem(*key));
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->id, key->id);
  EXPECT_TRUE(verify_signature(*again, "text", *sign(*key, "text")));
  EXPECT_FALSE(ed25519_from_pem("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
                   .has_value());
  EXPECT_FALSE(hs256_key("short", "").has_value());
}

}  // namespace
}  // namespace soma::runtime::security
