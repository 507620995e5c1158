// Users and the ends of tokens: given / when / then.
#include "actors/identity/identity.h"

#include "tests/unit/actors/given.h"

namespace soma::actors {
namespace {

using Identity = Given<IdentityDecider>;
const ActorKey kSelf = identity_key("acme");

TEST(Identity, AUserIsAVersionAChangeAndTheSameAgainIsNone) {
  Identity identity(kSelf);
  const std::string put = "put_user { user { user_id: 'ada' email: 'a@b' active: true } }";
  identity.when(put).then({"user.changed"});
  EXPECT_EQ(identity.state().users().at("ada").version(), 1u);
  identity.when(put).then({});
  EXPECT_FALSE(identity.reply().changed());
  identity.when("put_user { user { user_id: 'ada' email: 'a@b' active: false } }")
      .then({"user.changed"});
  EXPECT_EQ(identity.state().users().at("ada").version(), 2u);
}

TEST(Identity, AStaleTagAndBadFieldsAreRefused) {
  Identity identity(kSelf);
  identity.when("put_user { user { user_id: 'ada' active: true } }");
  const std::string first = version_tag(identity.state().users().at("ada"));
  const auto put = [](const std::string& tag, const char* name) {
    return "put_user { user { user_id: 'ada' active: true name: '" + std::string(name) +
           "' } expected_tags: '" + tag + "' }";
  };
  identity.when(put(first, "Ada")).then({"user.changed"});
  identity.when(put(first, "Eve")).refused(Code::kVersionMismatch);
  identity.when("put_user { user { user_id: 'new' } expected_tags: '1-x' }")
      .refused(Code::kVersionMismatch);
  identity.when("put_user { user { user_id: '' } }")
      .refused(Code::kInvalidArgument, "body.user_id");
  identity.when("put_user { user { user_id: 'x' email: 'nobody' } }")
      .refused(Code::kInvalidArgument, "body.email");
}

TEST(Identity, AServiceIsAVersionAChangeAndItsNameIsItsOwn) {
  Identity identity(kSelf);
  const std::string put =
      "put_service { service { service_id: 'ci' capabilities: 'a:b' active: true } }";
  identity.when(put).then({"service.changed"});
  EXPECT_EQ(identity.state().services().at("ci").version(), 1u);
  EXPECT_EQ(identity.state().services().at("ci").updated_by(), "ana");
  const std::string first = version_tag(identity.state().services().at("ci"));
  identity.when(put).then({});
  identity.when("put_service { service { service_id: 'ci' active: true } }")
      .then({"service.changed"});
  identity.when("put_service { service { service_id: 'ci' } expected_tags: '" + first + "' }")
      .refused(Code::kVersionMismatch);
  for (const char* id : {"", "CI", "svc:ci", "-ci", "a b", "a/b"})
    identity.when("put_service { service { service_id: '" + std::string(id) + "' } }")
        .refused(Code::kInvalidArgument, "body.service_id");
  identity.when("put_user { user { user_id: 'svc:ci' active: true } }")
      .refused(Code::kInvalidArgument, "body.user_id");
}

TEST(Identity, ATokenIsNotedForAServiceOnlyWhileThereIsSuchAService) {
  Identity identity(kSelf);
  const std::string note = "note_token { token_id: 't' subject: 'svc:ci' capabilities: 'a:b' }";
  identity.when(note).refused(Code::kForbidden, "body.user_id");
  identity.when("put_service { service { service_id: 'ci' active: true } }");
  identity.when(note).then({"token.issued"});
  identity.when("put_service { service { service_id: 'ci' active: false } }");
  identity.when(note).refused(Code::kForbidden, "body.user_id");
}

TEST(Identity, ARevokedTokenStaysSoUntilItHasExpired) {
  Identity identity(kSelf);
  identity.at(1000).when("revoke_token { token_id: 'a' expires_ms: 5000 }").then({"token.revoked"});
  identity.when("revoke_token { token_id: 'a' expires_ms: 5000 }").then({});
  identity.when("revoke_token { token_id: 'forever' }").then({"token.revoked"});
  // A minute of leeway: verifiers' clocks may be behind.
  identity.at(64'999).when("revoke_token { token_id: 'b' expires_ms: 90000 }");
  EXPECT_TRUE(identity.state().revoked().contains("a"));
  identity.at(65'001).when("revoke_token { token_id: 'c' expires_ms: 90000 }");
  EXPECT_FALSE(identity.state().revoked().contains("a"));
  EXPECT_TRUE(identity.state().revoked().contains("forever"));
  identity.when("revoke_token { token_id: '' }").refused(Code::kInvalidArgument, "body.jti");
}

TEST(Identity, ANotedTokensTermsAreInTheReply) {
  Identity identity(kSelf);
  identity.when(
      "note_token { token_id: 't' subject: 'ada' capabilities: 'a:b' terms { key_id: 'k' "
      "issued_ms: 7000 constitution_hash: 'h' } }");
  EXPECT_EQ(identity.reply().terms().key_id(), "k");
  EXPECT_EQ(identity.reply().terms().issued_ms(), 7000);
  EXPECT_EQ(identity.reply().terms().constitution_hash(), "h");
  // What an earlier build recorded is decided alike.
  identity.when("note_token { token_id: 't' subject: 'ada' capabilities: 'a:b' }");
  EXPECT_FALSE(identity.reply().has_terms());
}

TEST(Identity, NoTokenIsNotedForADeactivatedUser) {
  Identity identity(kSelf);
  const std::string note = "note_token { token_id: 't' subject: 'ada' capabilities: 'a:b' }";
  identity.when(note).then({"token.issued"});
  identity.when("put_user { user { user_id: 'ada' active: false } }");
  identity.when(note).refused(Code::kForbidden);
}

}  // namespace
}  // namespace soma::actors
