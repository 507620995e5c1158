// What a node of a cluster makes up for before it opens its caches, and what all nodes know of it.
#include "runtime/erasure/node_caches.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>

#include "tests/support/fake_keyed_topic.h"
#include "tests/support/hand_clock.h"

namespace soma::runtime::erasure {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

class NodeCachesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() /
              ("soma-node-caches-" + std::to_string(::getpid()) + "-" +
               ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(data());
    auto keys = privacy::TopicKeys::open(
        [this](events::KeyedTopic::Take take) -> Result<std::unique_ptr<events::KeyedTopic>> {
          return std::make_unique<test::FakeKeyedHandle>(topic_, std::move(take));
        },
        data(), std::string(64, 'a'), false);
    ASSERT_TRUE(keys) << keys.error().message;
    keys_ = std::move(*keys);
    records_ = std::make_unique<TopicRecords>(*keys_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string data() const { return (folder_ / "data").string(); }
  std::string snapshot() const { return data() + "/snapshots/000001.sst"; }
  void with_snapshots() {
    fs::create_directories(data() + "/snapshots");
    std::ofstream(snapshot()) << "what was remembered";
  }
  void start() {
    auto caches = NodeCaches::open(*keys_, *records_, data(), "a", clock_);
    ASSERT_TRUE(caches) << caches.error().message;
  }
  Pending erasure(const std::string& id, bool destroyed) const {
    Pending p;
    p.id = id;
    p.tenant = "acme";
    p.subject = "ana";
    p.salt = "00";
    p.destroyed = destroyed;
    p.round = 1;
    if (destroyed) p.key_ids = {"k1", "k2"};
    return p;
  }
  static json::object certificate(const std::string& id, json::array waits_for) {
    return {{"soma_erasure", 1},
            {"erasure_id", id},
            {"tenant", "acme"},
            {"erased_at", "2026-01-01T00:00:00.000Z"},
            {"waits_for", std::move(waits_for)}};
  }
  std::string own_folder() const { return records_->folders()->front().id; }

  fs::path folder_;
  test::FakeKeyedTopic topic_;
  HandClock clock_;
  std::unique_ptr<privacy::TopicKeys> keys_;
  std::unique_ptr<TopicRecords> records_;
};

TEST_F(NodeCachesTest, WhatItSleptThroughGoesOnce) {
  start();
  with_snapshots();
  start();
  EXPECT_TRUE(fs::exists(snapshot()));  // nothing was erased
  ASSERT_TRUE(records_->begin(erasure("era_1", true)));
  start();
  EXPECT_FALSE(fs::exists(snapshot()));
  EXPECT_TRUE(records_->dropped("era_1/1")->contains(own_folder()));
  with_snapshots();
  start();
  EXPECT_TRUE(fs::exists(snapshot()));  // it has done its part
  EXPECT_EQ(records_->folders()->size(), 1u);
}

TEST_F(NodeCachesTest, ARequestWhoseKeysStandIsNoReasonYet) {
  with_snapshots();
  ASSERT_TRUE(records_->begin(erasure("era_1", false)));
  start();
  EXPECT_TRUE(fs::exists(snapshot()));
  EXPECT_TRUE(records_->dropped("era_1/1")->empty());
}

TEST_F(NodeCachesTest, ACertifiedErasureCountsForAFolderThatWasAway) {
  with_snapshots();
  ASSERT_TRUE(records_->finish(erasure("era_1", true), certificate("era_1", {"a"})));
  ASSERT_TRUE(records_->finish(erasure("era_2", true), certificate("era_2", {})));
  start();
  EXPECT_FALSE(fs::exists(snapshot()));
  EXPECT_TRUE(records_->dropped("era_1/end")->contains(own_folder()));
  EXPECT_TRUE(records_->dropped("era_2/end")->empty());  // nobody waits for it
}

TEST_F(NodeCachesTest, AMarkThatWasNotToldIsToldByTheNextStart) {
  ASSERT_TRUE(records_->begin(erasure("era_1", true)));
  start();
  const std::string folder = own_folder();
  ASSERT_TRUE(keys_->note("dropped/era_1/1/" + folder, std::nullopt));  // as if it had died before
  start();
  EXPECT_TRUE(records_->dropped("era_1/1")->contains(folder));
}

TEST_F(NodeCachesTest, TheFolderThatStartedLastIsInUseWhateverItsClockSays) {
  ASSERT_TRUE(records_->add({"f1", "b", 10}));
  ASSERT_TRUE(records_->add({"e2", "b", 5}));
  EXPECT_EQ(records_->folders()->back().id, "e2");
  ASSERT_TRUE(records_->add({"f1", "b", 1}));
  EXPECT_EQ(records_->folders()->back().id, "f1");
}

TEST_F(NodeCachesTest, RequestsAndCertificatesComeBackAsTheyWere) {
  Pending p = erasure("era_1", true);
  p.two_keys = p.begun = true;
  p.approved_by = "bob";
  p.requested_ms = 7;
  ASSERT_TRUE(records_->begin(p));
  const auto all = records_->pending();
  ASSERT_TRUE(all);
  ASSERT_EQ(all->size(), 1u);
  const Pending& again = all->front();
  EXPECT_EQ(again.subject_hash(), p.subject_hash());
  EXPECT_EQ(again.key_ids, p.key_ids);
  EXPECT_TRUE(again.two_keys && again.begun && again.destroyed);
  EXPECT_EQ(again.approved_by + std::to_string(again.requested_ms), "bob7");
  ASSERT_TRUE(records_->finish(p, certificate("era_1", {"b"})));
  EXPECT_TRUE(records_->pending()->empty());
  EXPECT_EQ(records_->certificates("acme").size(), 1u);
  EXPECT_TRUE(records_->certificates("globex").empty());
  ASSERT_EQ(records_->due(true)->size(), 1u);
  EXPECT_EQ(records_->due(true)->front().name(), "era_1/end");
}

}  // namespace
}  // namespace soma::runtime::erasure
