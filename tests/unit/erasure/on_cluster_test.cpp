// Erasures carried out over a keys' topic in memory: what stands under passing keys, for how long,
// and that nothing that was made later is destroyed.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <boost/json.hpp>
#include <chrono>
#include <filesystem>

#include "actors/actor_type.h"
#include "events/embedded/embedded_log.h"
#include "runtime/erasure/erasures.h"
#include "runtime/erasure/node_caches.h"
#include "runtime/privacy/pieces.h"
#include "tests/support/fake_keyed_topic.h"
#include "tests/support/hand_clock.h"
#include "tests/unit/erasure/fake_views.h"
#include "tests/unit/erasure/taking_host.h"

namespace soma::runtime::erasure {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

// A node whose states are a counter of how often they were dropped.
struct TestNode {
  TestNode(test::FakeKeyedTopic& topic, const fs::path& folder, const std::string& name,
           const Clock& clock)
      : data(folder / name) {
    fs::create_directories(data);
    auto opened = privacy::TopicKeys::open(
        [&topic](events::KeyedTopic::Take take) -> Result<std::unique_ptr<events::KeyedTopic>> {
          return std::make_unique<test::FakeKeyedHandle>(topic, std::move(take));
        },
        data.string(), std::string(64, 'a'), false);
    keys = std::shared_ptr<privacy::TopicKeys>(std::move(opened.value()));
    records = std::make_unique<TopicRecords>(*keys);
    auto made = NodeCaches::open(*keys, *records, data.string(), name, clock);
    caches = std::move(made.value());
    const auto folders = records->folders();
    for (const auto& f : *folders)
      if (f.node_id == name) own = f.id;
    caches->follow({[this]() -> Result<Epochs> {
                      ++drops;
                      return Epochs{};
                    },
                    [this](const Epochs&, const Stopping&) -> Status {
                      if (stuck) return fail(Code::kDeadlineExceeded, "slow");
                      return {};
                    },
                    [this] { ++memories; },
                    [this](const Stopping&) -> Status {
                      if (++memory_waits > slow_memory) return {};
                      return fail(Code::kDeadlineExceeded, "slow");
                    },
                    &views});
  }
  bool told(const std::string& due) const { return records->dropped(due)->contains(own); }

  const fs::path data;
  std::string own;
  std::shared_ptr<privacy::TopicKeys> keys;
  std::unique_ptr<TopicRecords> records;
  std::unique_ptr<NodeCaches> caches;
  FakeViews views;  // another node's feeds them, until a test says otherwise
  std::atomic<int> drops{0}, memories{0}, memory_waits{0};
  std::atomic<int> slow_memory{0};  // so many waits for it fail
  std::atomic<bool> stuck{false};
};

class OnClusterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() /
              ("soma-on-cluster-" + std::to_string(::getpid()) + "-" +
               ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    topic_.cleans = true;
    events::EmbeddedOptions o;
    o.folder = (folder_ / "log").string();
    o.partition_count = 1;
    log_ = std::move(events::open_embedded_log(o).value());
    key_ = security::generate_ed25519().value();
    a_ = std::make_unique<TestNode>(topic_, folder_, "a", clock_);
    b_ = std::make_unique<TestNode>(topic_, folder_, "b", clock_);
  }
  void TearDown() override {
    carriers_.clear();
    for (auto* node : {a_.get(), b_.get()}) node->caches->stop();
    b_.reset();
    a_.reset();
    fs::remove_all(folder_);
  }

  Erasures& carrier(TestNode& node, std::int64_t span_ms = 60'000) {
    Parts parts;
    parts.log = log_.get();
    parts.sealer = std::make_shared<privacy::SubjectSealer>(*catalog_, node.keys);
    parts.host = &host_;
    parts.clock = &clock_;
    parts.key = [this] { return Result<security::Key>(key_); };
    auto& shared = parts.shared.emplace();
    shared.keys = node.keys.get();
    shared.records = node.records.get();
    shared.carries_out = [] { return true; };
    shared.owners = [] { return std::set<std::string>{"a", "b"}; };
    shared.removed = {"b"};  // though it serves
    shared.span_ms = span_ms;
    carriers_.push_back(std::make_unique<Erasures>(std::move(parts), Work{}));
    return *carriers_.back();
  }
  std::string ask(Erasures& erasures) {
    v1::Principal by;
    by.set_tenant("acme");
    by.set_subject("root");
    return erasures.begin(by, "ana", "").value();
  }
  bool reached(const std::function<bool()>& what) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (std::chrono::steady_clock::now() < until) {
      for (auto* node : {a_.get(), b_.get()})
        if (!node->keys->catch_up()) return false;
      if (what()) return true;
      std::unique_lock lock(topic_.mutex);
      topic_.put_something.wait_for(lock, std::chrono::milliseconds(10));
    }
    return false;
  }
  // Views are told of by hand: nobody feeds a database here.
  bool certified(const std::string& id) {
    return reached([&] {
      if (!a_->records->dropped(id + "/end")->contains(TopicRecords::kViews))
        (void)a_->records->dropped(id + "/end", TopicRecords::kViews, 1);
      return certificate(id).contains("soma_erasure");
    });
  }
  json::object certificate(const std::string& id) const {
    for (auto& one : a_->records->certificates("acme"))
      if (one.at("erasure_id").as_string() == id) return one;
    return {};
  }
  std::string key_of(TestNode& node, const std::string& subject = "ana") {
    return node.keys->of("acme", subject).value()->id;
  }

  fs::path folder_;
  test::FakeKeyedTopic topic_;
  HandClock clock_;
  TakingHost host_;
  std::unique_ptr<actors::Catalog> catalog_ = actors::standard_catalog();
  std::unique_ptr<events::Log> log_;
  security::Key key_;
  std::unique_ptr<TestNode> a_, b_;
  std::vector<std::unique_ptr<Erasures>> carriers_;
};

TEST_F(OnClusterTest, WhoWroteAsThePersonThroughoutDropsOnceMoreBeforeItSaysSo) {
  const std::string before = key_of(*b_), bobs = key_of(*b_, "bob");
  b_->stuck = true;
  auto& erasures = carrier(*a_);
  const std::string id = ask(erasures);
  ASSERT_TRUE(erasures.resume());
  ASSERT_TRUE(reached([&] { return b_->drops == 1; }));
  const std::string passing = key_of(*b_);
  EXPECT_EQ(*b_->keys->find(passing), nullptr);  // nothing that was written under it comes back
  EXPECT_EQ(key_of(*b_, "bob"), bobs);
  b_->stuck = false;
  ASSERT_TRUE(reached([&] { return b_->told(id + "/1"); }));
  const bool early = b_->told(id + "/end") && b_->drops == 1;
  EXPECT_FALSE(early);
  ASSERT_TRUE(certified(id));
  EXPECT_EQ(b_->drops, 2);
  EXPECT_EQ(a_->drops, 1);  // nobody wrote there as her
  const std::string after = key_of(*b_);
  EXPECT_NE(after, passing);
  EXPECT_EQ(key_of(*a_), after);
  const auto done = certificate(id);
  EXPECT_TRUE(done.at("complete").as_bool()) << json::serialize(done);
  EXPECT_EQ(texts(done, "key_ids"), std::vector<std::string>{before});
}

TEST_F(OnClusterTest, WhatNamesNoPersonHasALastingKeyAgainWhileANodeIsSlow) {
  const std::string unknown = privacy::kUnknown;
  const std::string before = key_of(*b_, unknown);
  b_->stuck = true;
  auto& erasures = carrier(*a_, 50);
  const std::string id = ask(erasures);
  ASSERT_TRUE(erasures.resume());
  ASSERT_TRUE(reached([&] { return a_->keys->is_over("acme", unknown, id + "/1"); }));
  EXPECT_FALSE(a_->keys->is_over("acme", "ana", id));  // hers stands until all have dropped
  const std::string between = key_of(*a_, unknown);
  EXPECT_NE(between, before);
  EXPECT_NE(*a_->keys->find(between), nullptr);
  ASSERT_TRUE(reached([&] {
    auto all = erasures.of("acme");
    return all && !all->empty() && all->front().at("problem").is_string();
  }));
  EXPECT_FALSE(a_->keys->is_over("acme", unknown, id + "/2"));  // no round more while it is slow
  EXPECT_NE(*a_->keys->find(between), nullptr);
  b_->stuck = false;
  ASSERT_TRUE(certified(id));
  EXPECT_EQ(*a_->keys->find(between), nullptr);
  EXPECT_NE(*a_->keys->find(key_of(*a_, unknown)), nullptr);
  EXPECT_GE(certificate(id).at("round").to_number<int>(), 2);
}

TEST_F(OnClusterTest, WhoReturnedKeepsTheNewKeyThoughTheErasureIsCarriedOutAgain) {
  key_of(*b_);
  auto& first = carrier(*a_);
  const std::string id = ask(first);
  auto stale = a_->records->pending()->front();
  ASSERT_TRUE(first.resume());
  ASSERT_TRUE(
      reached([&] { return a_->keys->is_over("acme", "ana", id) && b_->told(id + "/end"); }));
  const std::string returned = key_of(*b_);
  EXPECT_NE(*b_->keys->find(returned), nullptr);
  carrier(*b_);  // another one goes on, too
  ASSERT_TRUE(carriers_.back()->resume());
  ASSERT_TRUE(certified(id));
  stale.round = 0;
  ASSERT_TRUE(b_->records->begin(stale));  // of a node that had not heard of the end
  ASSERT_TRUE(certified(id));
  EXPECT_EQ(key_of(*b_), returned);
  EXPECT_NE(*a_->keys->find(returned), nullptr);
}

TEST_F(OnClusterTest, WhoServesIsWaitedForThoughTheOperatorSaysThatItIsGone) {
  b_->stuck = true;
  auto& erasures = carrier(*a_, 50);
  const std::string id = ask(erasures);
  ASSERT_TRUE(erasures.resume());
  ASSERT_TRUE(reached([&] {
    auto all = erasures.of("acme");
    return all && !all->empty() && all->front().at("problem").is_string();
  }));
  EXPECT_FALSE(a_->keys->is_over("acme", "ana", id));
  EXPECT_TRUE(certificate(id).empty());
  b_->stuck = false;
  ASSERT_TRUE(certified(id));
  const auto done = certificate(id);
  for (const auto& node : done.at("nodes").as_array())
    EXPECT_EQ(node.at("state").as_string(), "dropped");
}

TEST_F(OnClusterTest, NoPartitionIsServedBeforeSnapshotsOfWhatIsErasedAreGone) {
  EXPECT_TRUE(b_->caches->may_serve());
  b_->stuck = true;
  Pending p;
  p.id = "era_1";
  p.round = 1;
  p.destroyed = true;
  b_->caches->stop();  // it does nothing by itself
  ASSERT_TRUE(a_->records->begin(p));
  EXPECT_EQ(b_->caches->may_serve().error().code, Code::kUnavailable);
  ASSERT_TRUE(reached([&] { return a_->told("era_1/1"); }));
  EXPECT_TRUE(a_->caches->may_serve());
  topic_.away = true;
  EXPECT_EQ(a_->caches->may_serve().error().code, Code::kUnavailable);
  topic_.away = false;
}

// However often it is tried: else what takes longer than a wait would never be done.
TEST_F(OnClusterTest, AnIndexThatIsMadeAnewSlowlyIsWaitedFor) {
  Pending p;
  p.id = "era_1";
  p.round = 1;
  p.destroyed = true;
  a_->slow_memory = 1;
  ASSERT_TRUE(a_->records->begin(p));
  ASSERT_TRUE(reached([&] { return a_->told("era_1/1"); }));
  EXPECT_EQ(a_->memory_waits, 2);
  EXPECT_EQ(a_->memories, 1);
  EXPECT_EQ(a_->drops, 1);
}

TEST_F(OnClusterTest, ViewsThatAreMadeAnewSlowlyAreWaitedForWhileOthersAreErased) {
  const auto views_told = [&](const std::string& due) {
    return a_->records->dropped(due)->contains(TopicRecords::kViews);
  };
  const auto ended = [&](const std::string& id) {
    Pending p;
    p.id = id;
    const json::object certificate{
        {"soma_erasure", 1}, {"tenant", "acme"}, {"waits_for", json::array{"views"}}};
    return a_->records->finish(p, certificate);
  };
  a_->views.passive = false;
  ASSERT_TRUE(ended("era_1"));
  ASSERT_TRUE(reached([&] { return a_->views.waits > 1; }));
  EXPECT_EQ(a_->views.begun, 1);
  ASSERT_TRUE(ended("era_2"));
  ASSERT_TRUE(reached([&] { return a_->told("era_2/end"); }));  // nobody waits for the views
  const int waits = a_->views.waits;
  ASSERT_TRUE(reached([&] { return a_->views.waits > waits + 1; }));
  EXPECT_EQ(a_->views.begun, 1);
  EXPECT_FALSE(views_told("era_1/end"));
  a_->views.made = 1;
  ASSERT_TRUE(reached([&] { return views_told("era_1/end") && a_->views.begun == 2; }));
  EXPECT_FALSE(views_told("era_2/end"));  // what was begun before its end does not count
  a_->views.made = 2;
  ASSERT_TRUE(reached([&] { return views_told("era_2/end"); }));
}

TEST_F(OnClusterTest, AnOldFoldersRequestDoesNotTakeACertificatesPlace) {
  const json::object done{{"soma_erasure", 1}, {"erasure_id", "era_1"}, {"tenant", "acme"}};
  Pending p, other;
  p.id = "era_1";
  p.tenant = other.tenant = "acme";
  other.id = "era_2";
  ASSERT_TRUE(a_->records->finish(p, done));
  json::object older = done;
  older["reason"] = "older";
  ASSERT_TRUE(b_->records->adopt({p, other}, {older}));
  ASSERT_TRUE(a_->keys->catch_up());
  EXPECT_EQ(certificate("era_1"), done);
  ASSERT_EQ(a_->records->pending()->size(), 1u);
  EXPECT_EQ(a_->records->pending()->front().id, "era_2");
}

}  // namespace
}  // namespace soma::runtime::erasure
