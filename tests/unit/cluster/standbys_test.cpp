// When a node joins, what it follows, and what it knows of the others' standbys.
#include "runtime/cluster/standbys.h"

#include <gtest/gtest.h>

#include "tests/unit/host/fixture.h"

namespace soma::runtime {

namespace {

// `owner_` has all partitions; `host` is the node that stands by.
class StandbysOf : public HostFixture {
 protected:
  void SetUp() override {
    HostFixture::SetUp();  // its host is the owner
    HostParts parts{
        log_.get(), catalog_.get(), clock_.get(), &runner_, store2_.get(), "b", "", limits_, 2, {},
        {}};
    parts.shared.emplace();
    auto host = start_host(std::move(parts));
    ASSERT_TRUE(host);
    host2_ = std::move(*host);
  }
  void TearDown() override {
    standbys_.reset();
    host2_.reset();
    HostFixture::TearDown();
  }

  void start(std::size_t wanted = 1) {
    standbys_ = std::make_unique<Standbys>(
        Standbys::Parts{"b", "b:1", log_.get(), host2_.get(), clock_.get(), wanted, 0,
                        [this]() -> Result<events::GroupView> {
                          std::lock_guard lock(mutex_);
                          if (blind_) return fail(Code::kUnavailable, "no coordinator");
                          return group_;
                        },
                        [this]() -> Status {
                          ++joins_;
                          for (const auto& s : host2_->standbys())
                            if (s.next != log_->end(s.partition)) ++cold_;
                          return {};
                        },
                        [] { return std::vector<std::string>{"a:1"}; },
                        [this](const std::string& address, v1::ClusterRelay item) {
                          std::lock_guard lock(mutex_);
                          told_[address] = item.standby();
                        }});
    ASSERT_TRUE(standbys_->join());
  }
  void in_group(const std::string& node, std::set<std::uint32_t> given, bool stable = true) {
    std::lock_guard lock(mutex_);
    events::GroupView::Member m{node, node + "-1", {}};
    for (const auto p : given) m.given.insert(PartitionId{p});
    group_.stable = stable;
    group_.members.push_back(std::move(m));
  }
  std::set<std::uint32_t> followed() const {
    std::set<std::uint32_t> out;
    for (const auto& s : host2_->standbys()) out.insert(s.partition.value);
    return out;
  }
  template <typename F>
  static void until(F&& condition) {  // the test's own time limit ends a wait for ever
    while (!condition()) std::this_thread::yield();
  }

  std::unique_ptr<StateStore> store2_ = make_memory_store();
  std::unique_ptr<PartitionHost> host2_;
  std::unique_ptr<Standbys> standbys_;
  std::mutex mutex_;
  events::GroupView group_;
  bool blind_ = false;
  std::map<std::string, v1::ClusterStandby> told_;
  std::atomic<int> joins_{0}, cold_{0};
};

TEST_F(StandbysOf, TheFirstNodeJoinsAtOnce) {
  start();
  EXPECT_EQ(joins_, 1);
  EXPECT_TRUE(standbys_->joined());
}

TEST_F(StandbysOf, ANodeThatTheGroupStillKnowsJoinsAtOnce) {
  in_group("a", {0, 1});
  in_group("b", {2, 3});
  start();
  EXPECT_EQ(joins_, 1);
}

TEST_F(StandbysOf, ANewNodeJoinsWhenItIsWarm) {
  for (int i = 0; i < 100; ++i)
    ASSERT_TRUE(add("x" + std::to_string(i % 20), 1, "k" + std::to_string(i)));
  in_group("a", {0, 1, 2, 3, 4, 5, 6, 7});
  start();
  until([&] { return standbys_->joined(); });
  EXPECT_EQ(joins_, 1);
  EXPECT_EQ(cold_, 0);
  EXPECT_EQ(followed().size(), log_->partition_count());
}

TEST_F(StandbysOf, WithoutStandbysANewNodeJoinsAtOnce) {
  in_group("a", {0, 1, 2, 3, 4, 5, 6, 7});
  start(0);
  EXPECT_EQ(joins_, 1);
  EXPECT_TRUE(followed().empty());
}

TEST_F(StandbysOf, AColdNodeTakesOverWhenNobodyElseIsLeft) {
  host2_->drain(1000);  // so that it follows nothing and never gets warm
  in_group("a", {0, 1, 2, 3, 4, 5, 6, 7});
  start();
  EXPECT_EQ(joins_, 0);
  {
    std::lock_guard lock(mutex_);
    group_.members.clear();
  }
  until([&] { return standbys_->joined(); });
  EXPECT_EQ(joins_, 1);
}

TEST_F(StandbysOf, AGroupThatCannotBeSeenIsJoined) {
  blind_ = true;
  in_group("a", {0});
  start();
  EXPECT_EQ(joins_, 1);
}

TEST_F(StandbysOf, ItFollowsWhatItWouldInheritAndSaysHowFarItIs) {
  ASSERT_TRUE(add("x", 1, "k"));
  in_group("a", {0, 1, 2});
  in_group("b", {3, 4, 5});
  in_group("c", {6, 7});
  start();
  // Of a's: 2 to c, 1 to b, 0 to c. Of c's: 7 to a, 6 to b.
  until([&] { return followed() == std::set<std::uint32_t>{1, 6}; });
  until([&] {
    std::lock_guard lock(mutex_);
    return told_["a:1"].places_size() == 2 && told_["a:1"].node_id() == "b";
  });
  v1::ClusterStandby other;
  other.set_node_id("c");
  other.set_address("c:1");
  auto* place = other.add_places();
  place->set_partition(2);
  place->set_next(0);
  standbys_->took(other);
  bool found = false;
  for (const auto& row : standbys_->rows()) {
    EXPECT_EQ(row.here, row.node_id == "b");
    if (row.node_id != "c") continue;
    found = true;
    EXPECT_EQ(row.partition, PartitionId{2});
    EXPECT_EQ(row.lag, log_->end(PartitionId{2}).value);
  }
  EXPECT_TRUE(found);
  until([&] {  // also one that owns nothing is told of this one
    std::lock_guard lock(mutex_);
    return told_.contains("c:1");
  });
}

TEST_F(StandbysOf, WhileTheGroupSharesOutNothingChanges) {
  in_group("a", {0, 1});
  in_group("b", {2});
  start();
  until([&] { return followed() == std::set<std::uint32_t>{0, 1}; });
  {
    std::lock_guard lock(mutex_);
    group_ = {};
    told_.clear();
  }
  until([&] {
    std::lock_guard lock(mutex_);
    return !told_.empty();  // it has looked again
  });
  EXPECT_EQ(followed(), (std::set<std::uint32_t>{0, 1}));
}

}  // namespace

}  // namespace soma::runtime
