// Issuing, own keys, modes, revocation, the cache, and capabilities.
#include "runtime/security/authenticator.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "runtime/security/keys.h"
#include "test_keys.h"

namespace soma::runtime::security {
namespace {

struct AuthTest : testing::Test {
  std::filesystem::path dir;
  AuthOptions options;
  std::int64_t now = 1'800'000'000;

  AuthTest() {
    std::string name = (std::filesystem::temp_directory_path() / "soma-auth-XXXXXX").string();
    dir = ::mkdtemp(name.data());
    options.key_dir = (dir / "keys").string();
    options.now_s = [this] { return now; };
  }
  ~AuthTest() override { std::filesystem::remove_all(dir); }

  std::unique_ptr<Authenticator> make() {
    auto made = Authenticator::create(options);
    EXPECT_TRUE(made.has_value()) << made.error().message;
    return made ? std::move(*made) : nullptr;
  }
  static TokenRequest request() {
    return {.subject = "sam",
            .tenant = "acme",
            .capabilities = {"session:start", "memory:*"},
            .ttl_s = 60,
            .client_type = "cli",
            .constitution_hash = "abc"};
  }
  std::string key_path() const { return options.key_dir + "/token_ed25519.pem"; }
};

TEST_F(AuthTest, TheSameRequestGivesTheSameTokenWhenever) {
  const auto auth = make();
  auto wanted = request();
  wanted.token_id = "tok_1";
  const auto first = auth->issue_token(wanted);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->issued_s, now);
  EXPECT_EQ(first->key_id, auth->signing_key_id());
  wanted.issued_s = first->issued_s;
  now += 3600;  // long after its end
  const auto again = auth->issue_token(wanted);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->token, first->token);
  EXPECT_EQ(again->expires_s, first->expires_s);
  wanted.issued_s = 0;
  EXPECT_NE(auth->issue_token(wanted)->token, first->token);
}

TEST_F(AuthTest, IssuedTokensVerifyAndExpire) {
  const auto auth = make();
  const auto issued = auth->issue_token(request());
  ASSERT_TRUE(issued.has_value()) << issued.error().message;
  auto identity = auth->authenticate("Bearer " + issued->token);
  ASSERT_TRUE(identity.has_value());
  EXPECT_EQ(identity->principal.subject(), "sam");
  EXPECT_EQ(identity->principal.tenant(), "acme");
  EXPECT_EQ(identity->principal.client_type(), "cli");
  EXPECT_EQ(identity->constitution_hash, "abc");
  EXPECT_EQ(identity->token_id, issued->token_id);
  EXPECT_TRUE(has_capability(identity->principal, "memory:write"));
  EXPECT_FALSE(has_capability(identity->principal, "session:read"));
  now += 119;
  EXPECT_TRUE(auth->verify_token(issued->token).has_value());
  now += 1;  // from the cache, yet expired
  EXPECT_EQ(auth->verify_token(issued->token).error().message, "Token expired");
}

TEST_F(AuthTest, TheKeyIsMadeOnceAndKept) {
  const std::string token = make()->issue_token(request())->token;
  struct stat info {};
  ASSERT_EQ(::stat(key_path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  ASSERT_EQ(::stat(options.key_dir.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  const auto again = make();
  EXPECT_TRUE(again->verify_token(token).has_value());
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(options.key_dir), {}), 1);
  std::filesystem::remove_all(options.key_dir);
  EXPECT_FALSE(make()->verify_token(token).has_value());
}

TEST_F(AuthTest, ProcessesThatStartAtOnceShareOneKey) {
  std::vector<std::unique_ptr<Authenticator>> all(8);
  std::vector<std::thread> threads;
  for (auto& slot : all) threads.emplace_back([&] { slot = make(); });
  for (auto& t : threads) t.join();
  for (const auto& auth : all) EXPECT_EQ(auth->public_jwks(), all[0]->public_jwks());
}

TEST_F(AuthTest, UnsafeOrBrokenKeyFilesStopTheStart) {
  make();
  ::chmod(key_path().c_str(), 0644);
  auto made = Authenticator::create(options);
  ASSERT_FALSE(made.has_value());
  EXPECT_NE(made.error().message.find("chmod 600"), std::string::npos);
  std::ofstream(key_path()) << "not a key";
  ::chmod(key_path().c_str(), 0600);
  made = Authenticator::create(options);
  ASSERT_FALSE(made.has_value());
  EXPECT_NE(made.error().message.find(key_path()), std::string::npos);
}

TEST_F(AuthTest, DevelopersNeedNoTokenButABadOneIsStillBad) {
  options.mode = "developer-light";
  const auto auth = make();
  const auto identity = auth->authenticate({});
  ASSERT_TRUE(identity.has_value());
  EXPECT_TRUE(identity->anonymous);
  EXPECT_EQ(identity->principal.tenant(), "demo");
  EXPECT_EQ(identity->principal.subject(), "developer");
  EXPECT_TRUE(has_capability(identity->principal, "anything:at_all"));
  EXPECT_EQ(auth->authenticate("Bearer x").error().message, "Invalid token");
  auth->set_mode("production");
  EXPECT_EQ(auth->authenticate({}).error().message, "Missing bearer token");
}

TEST_F(AuthTest, WithConfiguredKeysTheOwnKeyIsForDevelopersOnly) {
  options.hs256_secret = kSecret;
  options.mode = "developer-full";
  const auto auth = make();
  const std::string token = auth->issue_token(request())->token;
  EXPECT_TRUE(auth->verify_token(token).has_value());
  auth->set_mode("production");
  EXPECT_EQ(auth->verify_token(token).error().message, "Invalid token");
  EXPECT_EQ(auth->public_jwks(), R"({"keys":[]})");
  const auto hs = auth->issue_token(request());  // signed with the secret now
  ASSERT_TRUE(hs.has_value());
  EXPECT_TRUE(auth->verify_token(hs->token).has_value());
}

TEST_F(AuthTest, RevocationHoldsForRememberedTokens) {
  std::string revoked;
  options.revoked = [&](const std::string& id) { return id == revoked; };
  const auto auth = make();
  const auto issued = auth->issue_token(request());
  EXPECT_TRUE(auth->verify_token(issued->token).has_value());
  revoked = issued->token_id;
  EXPECT_EQ(auth->verify_token(issued->token).error().message, "Invalid token");
}

TEST_F(AuthTest, PublishedKeysVerifyElsewhere) {
  const auto auth = make();
  const std::string token = auth->issue_token(request())->token;
  AuthOptions other;
  other.now_s = options.now_s;
  other.jwks = auth->public_jwks();
  const auto elsewhere = Authenticator::create(other);
  ASSERT_TRUE(elsewhere.has_value()) << elsewhere.error().message;
  EXPECT_TRUE((*elsewhere)->verify_token(token).has_value());
  EXPECT_EQ((*elsewhere)->issue_token(request()).error().code, Code::kNotSupported);
  other.jwks = (dir / "jwks.json").string();
  std::ofstream(other.jwks) << auth->public_jwks();
  EXPECT_TRUE(Authenticator::create(other).has_value());
  other.jwks = "/does/not/exist";
  EXPECT_FALSE(Authenticator::create(other).has_value());
}

TEST_F(AuthTest, IssuerAndAudienceWhenConfigured) {
  options.issuer = "https://idp";
  options.audience = "agents";
  const auto auth = make();
  const std::string token = auth->issue_token(request())->token;
  EXPECT_TRUE(auth->verify_token(token).has_value());
  options.audience = "others";
  EXPECT_FALSE(make()->verify_token(token).has_value());
  options.audience = "";
  options.issuer = "https://other";
  EXPECT_FALSE(make()->verify_token(token).has_value());
}

TEST_F(AuthTest, WithoutKeysNothingIsValid) {
  AuthOptions none;
  none.now_s = options.now_s;
  const auto auth = Authenticator::create(none);
  ASSERT_TRUE(auth.has_value());
  EXPECT_FALSE((*auth)->verify_token(make()->issue_token(request())->token).has_value());
}

TEST_F(AuthTest, OddTokenRequestsAreRefused) {
  const auto auth = make();
  for (const auto change :
       {+[](TokenRequest& r) { r.subject = ""; }, +[](TokenRequest& r) { r.tenant = "a/b"; },
        +[](TokenRequest& r) { r.ttl_s = 0; },
        +[](TokenRequest& r) { r.ttl_s = kMaxTtlSeconds + 1; },
        +[](TokenRequest& r) { r.capabilities = {}; },
        +[](TokenRequest& r) { r.capabilities = {"admin"}; },
        +[](TokenRequest& r) { r.subject = "a\nb"; }}) {
    TokenRequest r = request();
    change(r);
    const auto issued = auth->issue_token(r);
    ASSERT_FALSE(issued.has_value());
    EXPECT_EQ(issued.error().code, Code::kInvalidArgument);
  }
}

TEST_F(AuthTest, TheCacheIsBounded) {
  options.cache_entries = 4;
  const auto auth = make();
  for (int i = 0; i < 50; ++i)
    EXPECT_TRUE(auth->verify_token(auth->issue_token(request())->token).has_value());
}

TEST(Capabilities, Matching) {
  EXPECT_TRUE(capability_matches("*", "a:b"));
  EXPECT_TRUE(capability_matches("a:*", "a:b"));
  EXPECT_TRUE(capability_matches("a:b", "a:b"));
  for (const auto& [have, want] : {std::pair("a:b", "a:c"),
                                   {"a:*", "ab:c"},
                                   {"a:b", "a:bc"},
                                   {"a:*", "b:a"},
                                   {"*:b", "a:b"},
                                   {"*:*", "a:b"},
                                   {"a", "a:b"},
                                   {"", "a:b"},
                                   {"a:", "a:b"},
                                   {"a:b*", "a:bc"},
                                   {"*", ""},
                                   {"a:b:*", "a:b:c"},
                                   {"A:b", "a:b"}})
    EXPECT_FALSE(capability_matches(have, want)) << have << " " << want;
}

TEST_F(AuthTest, ARotatedKeyVerifiesUntilItsTokensHaveEnded) {
  auto auth = make();
  const auto old = auth->issue_token(request());
  const auto next = auth->new_key();
  ASSERT_TRUE(next.has_value());
  ASSERT_TRUE(auth->rotate(*next, false).has_value());
  EXPECT_EQ(auth->signing_key_id(), next->id);
  EXPECT_TRUE(auth->verify_token(old->token).has_value());
  const auto fresh = auth->issue_token(request());
  auth = make();  // another process, or a restart
  EXPECT_EQ(auth->signing_key_id(), next->id);
  EXPECT_TRUE(auth->verify_token(old->token).has_value());
  EXPECT_TRUE(auth->verify_token(fresh->token).has_value());
  EXPECT_NE(auth->public_jwks().find("},{"), std::string::npos) << "both keys are published";
  now += kMaxTtlSeconds + 2 * kLeewaySeconds;
  EXPECT_EQ(auth->public_jwks().find("},{"), std::string::npos) << "the retired one has ended";
  struct stat info {};
  ASSERT_EQ(::stat((options.key_dir + "/retired.json").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(AuthTest, ARotationAtOnceEndsEveryToken) {
  auto auth = make();
  const auto first = auth->issue_token(request());
  ASSERT_TRUE(auth->rotate(*auth->new_key(), false).has_value());
  const auto second = auth->issue_token(request());
  EXPECT_TRUE(auth->verify_token(first->token).has_value());  // remembered, and must be forgotten
  ASSERT_TRUE(auth->rotate(*auth->new_key(), true).has_value());
  for (const auto& token : {first->token, second->token})
    EXPECT_FALSE(auth->verify_token(token).has_value());
  EXPECT_FALSE(make()->verify_token(second->token).has_value()) << "nor after a restart";
}

TEST_F(AuthTest, ADamagedListOfRetiredKeysIsAnErrorThatNamesIt) {
  auto auth = make();
  ASSERT_TRUE(auth->rotate(*auth->new_key(), false).has_value());
  std::ofstream(options.key_dir + "/retired.json") << "{}";
  const auto again = Authenticator::create(options);
  ASSERT_FALSE(again.has_value());
  EXPECT_NE(again.error().message.find("retired.json"), std::string::npos);
}

}  // namespace
}  // namespace soma::runtime::security
