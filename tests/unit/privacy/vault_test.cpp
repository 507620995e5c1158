// Keys that last, and keys that are gone.
#include "runtime/privacy/vault.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace soma::runtime::privacy {
namespace {

namespace fs = std::filesystem;

class VaultTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() /
              ("soma-vault-" + std::to_string(::getpid()) + "-" +
               ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    reopen();
  }
  void TearDown() override { fs::remove_all(folder_); }
  void reopen() {
    vault_.reset();
    auto made = Vault::open(folder_.string(), {}, false);
    ASSERT_TRUE(made) << made.error().message;
    vault_ = std::move(*made);
  }
  std::string file() const {
    std::ifstream in(folder_ / "keys/vault/subject.keys", std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  fs::path folder_;
  std::unique_ptr<Vault> vault_;
};

TEST_F(VaultTest, KeysOutliveTheProcessAndTenantsHaveTheirOwn) {
  const auto ana = *vault_->of("acme", "ana"), other = *vault_->of("globex", "ana");
  EXPECT_NE(ana->id, other->id);
  const std::string id = ana->id, secret = ana->secret;
  reopen();
  EXPECT_EQ((*vault_->of("acme", "ana"))->id, id);
  EXPECT_EQ((*vault_->find(id))->secret, secret);
  EXPECT_EQ(vault_->keys(), 2u);
  EXPECT_EQ(file().find(secret), std::string::npos);
  EXPECT_EQ(file().find("ana"), std::string::npos);
}

TEST_F(VaultTest, ADestroyedKeyIsGoneFromTheFileAndANewOneIsAnother) {
  const std::string id = (*vault_->of("acme", "ana"))->id;
  const std::string before = file();
  ASSERT_EQ(*vault_->destroy("acme", "ana", "e1"), std::vector<std::string>{id});
  EXPECT_EQ(*vault_->find(id), nullptr);
  // State, id and checksum stand; whose it was and the key itself were overwritten in place.
  const std::string after = file();
  EXPECT_EQ(after.size(), before.size());
  EXPECT_EQ(after.substr(20, 92), std::string(92, '\0'));
  reopen();
  EXPECT_EQ(*vault_->find(id), nullptr);
  EXPECT_TRUE(vault_->destroy("acme", "ana", "e1")->empty());
  EXPECT_NE((*vault_->of("acme", "ana"))->id, id);
}

TEST_F(VaultTest, WhileASubjectIsErasedNoKeyOfHersLasts) {
  vault_->begin_erasure("acme", "ana", "e1");
  const auto passing = *vault_->of("acme", "ana");
  EXPECT_EQ(*vault_->find(passing->id), nullptr);
  EXPECT_EQ((*vault_->of("acme", "ana"))->id, passing->id);
  reopen();
  EXPECT_EQ(*vault_->find(passing->id), nullptr);
  EXPECT_NE((*vault_->of("acme", "ana"))->id, passing->id);
}

TEST_F(VaultTest, AMissingKeyIsNoErasedOne) {
  const auto missing = vault_->find(std::string(32, 'a'));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::kCorrupt);
}

TEST_F(VaultTest, DamageAndAnotherMasterKeyAreToldApart) {
  ASSERT_TRUE(vault_->of("acme", "ana") && vault_->of("acme", "bob"));
  vault_.reset();
  const auto other = Vault::open(folder_.string(), std::string(64, 'a'), false);
  ASSERT_FALSE(other);
  EXPECT_NE(other.error().message.find("another master key"), std::string::npos);
  std::string bytes = file();
  bytes[60] = static_cast<char>(bytes[60] ^ 1);
  std::ofstream(folder_ / "keys/vault/subject.keys", std::ios::binary) << bytes;
  EXPECT_EQ(Vault::open(folder_.string(), {}, false).error().code, Code::kCorrupt);
}

TEST_F(VaultTest, ASlotCutByACrashIsWrittenAgain) {
  const std::string ana = (*vault_->of("acme", "ana"))->id;
  ASSERT_TRUE(vault_->of("acme", "bob"));
  vault_.reset();
  fs::resize_file(folder_ / "keys/vault/subject.keys", 128 + 50);
  reopen();
  EXPECT_EQ(vault_->keys(), 1u);
  const std::string bob = (*vault_->of("acme", "bob"))->id;
  reopen();
  EXPECT_TRUE(*vault_->find(bob) && *vault_->find(ana));
}

TEST_F(VaultTest, AReaderSeesKeysThatAreMadeMeanwhile) {
  ASSERT_TRUE(vault_->of("acme", "ana"));
  auto reader = Vault::open(folder_.string(), {}, true);
  ASSERT_TRUE(reader) << reader.error().message;
  const std::string bob = (*vault_->of("acme", "bob"))->id;
  EXPECT_TRUE(*(*reader)->find(bob));
  EXPECT_FALSE((*reader)->of("acme", "eve"));
}

}  // namespace
}  // namespace soma::runtime::privacy
