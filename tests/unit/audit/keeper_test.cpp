// A keeper's rounds: each tenant's head once, in the way of nobody, and ended by a stop.
#include "runtime/audit/keeper.h"

#include <atomic>
#include <future>
#include <thread>

#include "tests/unit/host/fixture.h"

namespace soma::runtime::audit {
namespace {

// A round's key is handed out when the test says so; to others at once.
class KeeperRounds : public HostFixture {
 protected:
  void SetUp() override {
    HostFixture::SetUp();
    v1::CounterCommand c;
    c.mutable_add()->set_amount(1);
    for (const char* tenant : {"demo", "other", "third"})
      ASSERT_TRUE(submit({tenant, "counter", "a", {}}, c, std::string("k") + tenant));
    keeper_ = std::make_unique<Keeper>(
        *log_,
        [this] {
          if (std::this_thread::get_id() != tester_ && asked_++ == 0) {
            reached_.set_value();
            go_on_.get_future().wait();
          }
          return Result<security::Key>(key_);
        },
        folder_.string(), 1, *clock_);
    reached_.get_future().wait();
  }
  void TearDown() override {
    keeper_.reset();
    HostFixture::TearDown();
  }
  std::size_t kept(const std::string& tenant) const {
    return HeadFile(folder_.string()).of(tenant).size();
  }

  const security::Key key_ = *security::generate_ed25519();
  const std::thread::id tester_ = std::this_thread::get_id();
  std::atomic<int> asked_{0};
  std::promise<void> reached_, go_on_;
  std::unique_ptr<Keeper> keeper_;
};

TEST_F(KeeperRounds, HoldUpNobodyAndKeepNothingTwice) {
  EXPECT_TRUE(keeper_->sign("demo"));  // in the middle of a round
  EXPECT_EQ(kept("demo"), 1U);
  go_on_.set_value();
  ASSERT_TRUE(add("later", 1, "later"));                                     // of demo
  while (kept("third") == 0 || kept("demo") < 2) std::this_thread::yield();  // by the time limit
  keeper_.reset();
  EXPECT_EQ(kept("demo"), 2U);
  EXPECT_EQ(kept("other"), 1U);
  EXPECT_EQ(kept("third"), 1U);
  EXPECT_EQ(asked_, 2) << "one key a round";
}

TEST_F(KeeperRounds, EndWithTheKeeper) {
  const Keeper& keeper = *keeper_;  // until its thread, which waits, has ended
  std::thread ending([this] { keeper_.reset(); });
  while (!keeper.stopping()) std::this_thread::yield();  // by the time limit
  go_on_.set_value();
  ending.join();
  EXPECT_EQ(kept("demo") + kept("other") + kept("third"), 0U);
}

}  // namespace
}  // namespace soma::runtime::audit
