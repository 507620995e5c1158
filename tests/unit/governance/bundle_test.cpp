// Bundles as they come in: every defect is named, and only a sound one with a trusted signature
// passes.
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>

#include "runtime/security/base64url.h"
#include "runtime/security/canonical_json.h"
#include "runtime/security/constitution_bundle.h"
#include "schemas/base/sha256.h"

namespace soma::runtime::security {
namespace {

namespace json = boost::json;
constexpr const char* kDocument =
    R"({"name":"café","rules":{"prohibited_actions":["pay"],"maximum_risk":0.8,"human_approval_above_risk":0.5,"permitted_tool_categories":["search"]}})";

class Bundle : public testing::Test {
 protected:
  void SetUp() override { trusted.add(key); }
  json::object good() {
    auto c = sign_constitution(key, kDocument, "1.0.0", 1'767'225'600'000);
    EXPECT_TRUE(c) << c.error().message;
    return json::parse(bundle_text(*c)).as_object();
  }
  CheckedBundle check(const json::object& bundle) {
    return check_bundle(json::serialize(bundle), trusted);
  }
  void expect_issue(const json::object& bundle, const std::string& about) {
    const auto checked = check(bundle);
    bool found = false;
    for (const auto& issue : checked.issues) found |= issue.find(about) != std::string::npos;
    EXPECT_TRUE(found) << about << " not among " << checked.issues.size() << " issues";
  }
  Key key = generate_ed25519().value();
  TrustedKeys trusted;
};

TEST_F(Bundle, ASoundOnePassesWithItsRules) {
  const auto checked = check(good());
  ASSERT_TRUE(checked.issues.empty()) << checked.issues.front();
  const auto& c = checked.constitution;
  EXPECT_EQ(c.hash(), sha256_hex(canonical_json(kDocument).value()));
  EXPECT_EQ(c.key_id(), key.id);
  EXPECT_EQ(c.issued_ms(), 1'767'225'600'000);
  EXPECT_EQ(c.rules().prohibited_actions(0), "pay");
  EXPECT_EQ(c.rules().maximum_risk(), 0.8);
  EXPECT_EQ(c.rules().human_approval_above_risk(), 0.5);
  EXPECT_TRUE(c.rules().limits_tool_categories());
}

TEST_F(Bundle, EachDefectIsNamed) {
  auto b = good();
  b["document"].as_object()["name"] = "cafe";
  expect_issue(b, "hash does not match");
  expect_issue(b, "does not verify");
  b = good();
  b.erase("hash");
  expect_issue(b, "hash is missing");
  b = good();
  b.erase("signature");
  expect_issue(b, "signature is missing");
  b = good();
  b["signature"].as_object()["algorithm"] = "HS256";
  expect_issue(b, "signature.algorithm");
  b = good();
  b["signature"].as_object()["value"] = "!!";
  expect_issue(b, "signature.value");
  b = good();
  b["issued_at"] = "yesterday";
  expect_issue(b, "issued_at");
  b = good();
  b.erase("version");
  expect_issue(b, "version");
  b = good();
  b["document"] = json::array{};
  expect_issue(b, "document");
  b = good();
  b["document"].as_object()["rules"].as_object()["maximum_risk"] = 2;
  expect_issue(b, "document.rules.maximum_risk");
  b["document"].as_object()["rules"].as_object()["be_nice"] = true;
  expect_issue(b, "document.rules.be_nice");
}

TEST_F(Bundle, AnotherKeysSignatureIsNotTrusted) {
  TrustedKeys others;
  others.add(generate_ed25519().value());
  EXPECT_EQ(check_bundle(json::serialize(good()), others).issues.size(), 1u);
  EXPECT_FALSE(check_bundle(json::serialize(good()), TrustedKeys{}).issues.empty());
}

TEST_F(Bundle, Rs256InStandardBase64Passes) {
  EVP_PKEY* pkey = EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", std::size_t{2048});
  ASSERT_NE(pkey, nullptr);
  const auto path = std::filesystem::temp_directory_path() / "soma-bundle-test.pem";
  FILE* file = std::fopen(path.c_str(), "w");
  PEM_write_PUBKEY(file, pkey);
  std::fclose(file);
  auto keys = TrustedKeys::read({path.string()});
  std::filesystem::remove(path);
  ASSERT_TRUE(keys) << keys.error().message;
  const std::string canonical = canonical_json(kDocument).value();
  std::string signature(256, '\0');
  std::size_t size = signature.size();
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ASSERT_EQ(EVP_DigestSignInit(context, nullptr, EVP_sha256(), nullptr, pkey), 1);
  ASSERT_EQ(
      EVP_DigestSign(context, reinterpret_cast<unsigned char*>(signature.data()), &size,
                     reinterpret_cast<const unsigned char*>(canonical.data()), canonical.size()),
      1);
  EVP_MD_CTX_free(context);
  EVP_PKEY_free(pkey);
  std::string base64 = base64url_encode(signature);
  for (char& c : base64) c = c == '-' ? '+' : c == '_' ? '/' : c;
  base64 += "==";
  auto b = good();
  b["signature"] = json::object{{"algorithm", "RS256"}, {"value", base64}};
  auto checked = check_bundle(json::serialize(b), *keys);
  EXPECT_TRUE(checked.issues.empty()) << checked.issues.front();
  b["signature"].as_object()["algorithm"] = "EdDSA";
  EXPECT_FALSE(check_bundle(json::serialize(b), *keys).issues.empty());
}

TEST_F(Bundle, KeyFilesThatCannotSignAreRefusedByName) {
  const auto path = std::filesystem::temp_directory_path() / "soma-bundle-test-bad.pem";
  std::ofstream(path) << "-----BEGIN PUBLIC KEY-----\nno\n-----END PUBLIC KEY-----\n";
  const auto bad = TrustedKeys::read({path.string()});
  std::filesystem::remove(path);
  ASSERT_FALSE(bad);
  EXPECT_NE(bad.error().message.find(path.string()), std::string::npos);
  EXPECT_FALSE(TrustedKeys::read({"/nonexistent/key.pem"}));
}

}  // namespace
}  // namespace soma::runtime::security
