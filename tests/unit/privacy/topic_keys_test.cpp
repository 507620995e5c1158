// Nodes that share their keys by a topic, each at its own pace.
#include "runtime/privacy/topic_keys.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "runtime/privacy/vault.h"
#include "tests/support/fake_keyed_topic.h"

namespace soma::runtime::privacy {
namespace {

namespace fs = std::filesystem;

class TopicKeysTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() /
              ("soma-topic-keys-" + std::to_string(::getpid()) + "-" +
               ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  Result<std::unique_ptr<TopicKeys>> open(const std::string& node, const std::string& master,
                                          bool read_only = false) {
    fs::create_directories(folder_ / node);
    const auto topic =
        [this](events::KeyedTopic::Take take) -> Result<std::unique_ptr<events::KeyedTopic>> {
      return std::make_unique<test::FakeKeyedHandle>(topic_, std::move(take));
    };
    return TopicKeys::open(topic, (folder_ / node).string(), master, read_only);
  }
  std::unique_ptr<TopicKeys> node(const std::string& name) {
    auto out = open(name, kMaster);
    EXPECT_TRUE(out) << out.error().message;
    return std::move(*out);
  }
  bool in_topic(const std::string& bytes) const {
    return std::any_of(topic_.records.begin(), topic_.records.end(), [&](const auto& r) {
      return r.key.find(bytes) != r.key.npos || (r.value && r.value->find(bytes) != r.value->npos);
    });
  }

  const std::string kMaster = std::string(64, 'a'), kOther = std::string(64, 'b');
  fs::path folder_;
  test::FakeKeyedTopic topic_;
};

TEST_F(TopicKeysTest, NodesKnowTheSameKeysAndTheTopicHoldsNoneInClear) {
  const auto a = node("a"), b = node("b");
  const auto key = *a->of("acme", "ana");
  EXPECT_EQ((*b->find(key->id))->secret, key->secret);  // b has not heard of it by itself
  EXPECT_EQ((*b->of("acme", "ana"))->id, key->id);
  EXPECT_NE((*b->of("globex", "ana"))->id, key->id);
  EXPECT_EQ((*node("c")->of("acme", "ana"))->id, key->id);
  EXPECT_FALSE(in_topic(key->secret));
  EXPECT_FALSE(in_topic("ana"));
}

TEST_F(TopicKeysTest, OfTwoKeysMadeAtOnceTheFirstIsUsedAndBothGo) {
  const auto a = node("a"), b = node("b");
  const auto first = *a->of("acme", "ana");
  const auto second = *b->of("acme", "ana");  // b lags: it makes another one
  EXPECT_EQ(second->id, first->id);
  ASSERT_TRUE(a->begin_erasure("acme", "ana", "e1"));
  EXPECT_EQ(a->destroy("acme", "ana", "e1")->size(), 2u);
  EXPECT_FALSE(a->id_of("acme", "ana"));
  ASSERT_TRUE(b->catch_up());
  EXPECT_EQ(*b->find(first->id), nullptr);
}

TEST_F(TopicKeysTest, ADestroyedKeyIsGoneOnEveryNodeAndNothingBringsItBack) {
  const auto a = node("a"), b = node("b");
  const auto key = *a->of("acme", "ana");
  ASSERT_TRUE(*b->find(key->id));
  const auto live = topic_.records.back();
  ASSERT_TRUE(a->begin_erasure("acme", "ana", "e1"));
  ASSERT_EQ(*a->destroy("acme", "ana", "e1"), std::vector<std::string>{key->id});
  ASSERT_TRUE(b->catch_up());
  EXPECT_EQ(*b->find(key->id), nullptr);
  topic_.put(live.key, live.value);  // an old record again
  ASSERT_TRUE(b->catch_up());
  EXPECT_EQ(*b->find(key->id), nullptr);
  topic_.records.pop_back();
  topic_.compact();
  EXPECT_FALSE(in_topic(*live.value));
  EXPECT_EQ(*node("c")->find(key->id), nullptr);  // destroyed, not missing
}

TEST_F(TopicKeysTest, AMissingKeyIsCorruptionAndAnAbsentBrokerIsNot) {
  const auto a = node("a");
  EXPECT_EQ(a->find(std::string(32, '0')).error().code, Code::kCorrupt);
  topic_.away = true;
  EXPECT_EQ(a->find(std::string(32, '0')).error().code, Code::kUnavailable);
  EXPECT_EQ(a->of("acme", "ana").error().code, Code::kUnavailable);
}

TEST_F(TopicKeysTest, WhileASubjectIsErasedNoNodeKeepsAKeyOfHers) {
  const auto a = node("a"), b = node("b");
  const auto before = *a->of("acme", "ana");
  ASSERT_TRUE(a->begin_erasure("acme", "ana", "e1"));
  ASSERT_TRUE(b->catch_up());
  ASSERT_TRUE(a->destroy("acme", "ana", "e1"));
  const auto here = *a->of("acme", "ana"), there = *b->of("acme", "ana");
  EXPECT_NE(here->id, before->id);
  EXPECT_NE(there->id, here->id);  // in the memory of one node each
  EXPECT_EQ((*a->of("acme", "ana"))->id, here->id);
  EXPECT_EQ(*b->find(here->id), nullptr);
  EXPECT_EQ((*a->of("acme", "bob"))->id, (*b->of("acme", "bob"))->id);
  ASSERT_TRUE(a->end_erasure("acme", "ana", "e1"));
  ASSERT_TRUE(b->catch_up());
  EXPECT_EQ((*b->of("acme", "ana"))->id, there->id);  // until states made from it are dropped
  const auto passed = b->passed();
  EXPECT_EQ(passed.size(), 1u);
  b->let_go(passed);
  EXPECT_TRUE(b->passed().empty());
  const auto after = *b->of("acme", "ana");
  EXPECT_NE(after->id, there->id);
  EXPECT_EQ((*a->find(after->id))->secret, after->secret);
}

TEST_F(TopicKeysTest, AKeyMadeByANodeThatLaggedIsNotUsedDuringTheErasure) {
  const auto a = node("a"), b = node("b");
  ASSERT_TRUE(a->begin_erasure("acme", "ana", "e1"));
  const auto key = *b->of("acme", "ana");  // made before b heard of the erasure
  EXPECT_EQ(*a->find(key->id), nullptr);
}

TEST_F(TopicKeysTest, WhatIsOverDestroysNoKeyThatWasMadeLater) {
  const auto a = node("a"), late = node("b");
  const auto before = *a->of("acme", "ana");
  ASSERT_TRUE(a->begin_erasure("acme", "ana", "e1"));
  EXPECT_EQ(a->doomed("acme", "ana", "e1"), std::vector<std::string>{before->id});
  ASSERT_TRUE(a->destroy("acme", "ana", "e1"));
  ASSERT_TRUE(a->end_erasure("acme", "ana", "e1"));
  const auto after = *a->of("acme", "ana");
  EXPECT_FALSE(late->is_over("acme", "ana", "e1"));  // it has not heard of that
  ASSERT_TRUE(late->begin_erasure("acme", "ana", "e1"));
  EXPECT_TRUE(late->destroy("acme", "ana", "e1")->empty());
  ASSERT_TRUE(a->catch_up());
  EXPECT_EQ((*a->of("acme", "ana"))->id, after->id);
  EXPECT_TRUE(a->is_over("acme", "ana", "e1"));
  topic_.compact();
  const auto again = node("c");
  EXPECT_EQ((*again->of("acme", "ana"))->id, after->id);
  ASSERT_TRUE(again->begin_erasure("acme", "ana", "e2"));  // another one destroys it
  EXPECT_EQ(*again->destroy("acme", "ana", "e2"), std::vector<std::string>{after->id});
}

TEST_F(TopicKeysTest, APassingKeyIsLetGoForEachErasureThatItPassedThrough) {
  const auto a = node("a");
  ASSERT_TRUE(a->begin_erasure("acme", "ana", "e1"));
  const auto passing = *a->of("acme", "ana");
  EXPECT_TRUE(a->passed().empty());
  ASSERT_TRUE(a->begin_erasure("acme", "ana", "e2"));
  ASSERT_TRUE(a->end_erasure("acme", "ana", "e1"));
  a->let_go(a->passed());  // though the second one stands
  const auto other = *a->of("acme", "ana");
  EXPECT_NE(other->id, passing->id);
  EXPECT_TRUE(a->passed().empty());
  ASSERT_TRUE(a->end_erasure("acme", "ana", "e2"));
  EXPECT_EQ(a->passed().size(), 1u);
}

TEST_F(TopicKeysTest, OneMasterKeyForAll) {
  const auto a = node("a");
  const auto key = *a->of("acme", "ana");
  const auto other = open("b", kOther);
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, Code::kInvalidArgument);
  EXPECT_EQ(open("c", {}).error().code, Code::kInvalidArgument);
  EXPECT_FALSE(fs::exists(folder_ / "c/keys/vault/master.key"));
  EXPECT_EQ(open("c", {}, true).error().code, Code::kNotFound);
  topic_.compact();
  EXPECT_EQ((*node("d")->of("acme", "ana"))->id, key->id);
}

TEST_F(TopicKeysTest, AMovedFoldersKeysBecomeTheClustersOnce) {
  auto vault = *Vault::open((folder_ / "moved").string(), kMaster, false);
  const auto kept = *vault->of("acme", "ana"), gone = *vault->of("acme", "bob");
  ASSERT_TRUE(vault->destroy("acme", "bob", "e1"));
  const auto a = node("a");
  ASSERT_TRUE(a->adopt(*vault->slots()));
  EXPECT_EQ((*a->of("acme", "ana"))->id, kept->id);
  EXPECT_EQ(*a->find(gone->id), nullptr);
  const auto count = topic_.records.size();
  ASSERT_TRUE(a->adopt(*vault->slots()));
  EXPECT_EQ(topic_.records.size(), count);
  ASSERT_TRUE(vault->remove());
  EXPECT_FALSE(fs::exists(folder_ / "moved/keys/vault/subject.keys"));
  auto home = *Vault::open((folder_ / "home").string(), kMaster, false);
  for (const auto& slot : a->slots()) ASSERT_TRUE(home->adopt(slot));
  EXPECT_EQ((*home->find(kept->id))->secret, kept->secret);
  EXPECT_EQ(*home->find(gone->id), nullptr);
  ASSERT_TRUE(a->begin_erasure("acme", "ana", "e1"));
  ASSERT_TRUE(a->destroy("acme", "ana", "e1"));  // and moved again
  for (const auto& slot : a->slots()) ASSERT_TRUE(home->adopt(slot));
  EXPECT_EQ(*home->find(kept->id), nullptr);
  EXPECT_FALSE(home->id_of("acme", "ana"));
}

TEST_F(TopicKeysTest, NotesAreKnownToAllAndReadableByNobodyElse) {
  const auto a = node("a"), b = node("b");
  ASSERT_TRUE(a->note("erasure/1", "about ana"));
  ASSERT_TRUE(a->note("erasure/2", "about bob"));
  ASSERT_TRUE(a->note("erasure/2", std::nullopt));
  EXPECT_EQ(b->notes("erasure/")->size(), 0u);
  ASSERT_TRUE(b->catch_up());
  EXPECT_EQ(*b->notes("erasure/"), (std::map<std::string, std::string>{{"1", "about ana"}}));
  EXPECT_FALSE(in_topic("about"));
}

TEST_F(TopicKeysTest, AStrangersRecordIsNoKey) {
  const auto a = node("a");
  const auto key = *a->of("acme", "ana");
  topic_.put("key/" + key->id, "garbage");
  topic_.put("key/" + std::string(32, '1'), std::string(KeySlot::kBytes, 'x'));
  topic_.put("other", "1");
  ASSERT_TRUE(a->catch_up());
  EXPECT_EQ((*a->find(key->id))->secret, key->secret);
  EXPECT_EQ(a->find(std::string(32, '1')).error().code, Code::kCorrupt);
}

}  // namespace
}  // namespace soma::runtime::privacy
