// An errand's patience, and whose thread it takes.
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <optional>
#include <vector>

#include "runtime/cluster/cluster_host.h"
#include "tests/support/hand_clock.h"
#include "tests/unit/cluster/fixture.h"
#include "tests/unit/host/gated_store.h"

namespace soma::runtime {

namespace {

// A node to which calls wait and wait, and are neither sent nor answered.
class Crowded final : public Peers {
 public:
  int calls = 0, given_up = 0;
  GiveUp call(const std::string&, v1::ClusterCall, OnReply done) override {
    ++calls;
    waiting_.push_back(std::move(done));
    return [this] { ++given_up; };
  }
  void relay(const std::string&, v1::ClusterRelay) override {}

 private:
  std::vector<OnReply> waiting_;
};

// The owner stays the owner: only patience ends such a call.
TEST_F(ClusterOfTwo, ACallThatWaitsToBeSentIsGivenUpInTime) {
  HandClock clock;
  Crowded peers;
  Directory directory;
  v1::Claim claim;
  claim.set_node_id("other");
  claim.set_address("127.0.0.1:1");
  directory.take(partition("x"), claim, Epoch{1});
  ClusterHost host({.local = a_.local.get(),
                    .directory = &directory,
                    .peers = &peers,
                    .catalog = catalog_.get(),
                    .clock = &clock,
                    .node_id = "c",
                    .partitions = log_->partition_count()});
  std::optional<Result<Accepted>> told;
  host.submit(one_more("x", "demo:1", false), [&](Result<Accepted> r) { told = std::move(r); });
  clock.pass(ClusterHost::kPatienceMs);
  EXPECT_EQ(peers.calls, 1);
  clock.pass(3000);  // as long as one that was sent at the last moment may take
  ASSERT_TRUE(told) << "it waits still";
  ASSERT_FALSE(*told);
  EXPECT_EQ(told->error().code, Code::kUnknownOutcome);  // it may have been sent
  EXPECT_EQ(peers.given_up, 1);
}

// Timers, deadlines and the tries of all others are on the clock's thread.
TEST_F(ClusterOfTwo, AReadThatWaitedForItsPartitionHoldsUpNoAlarm) {
  auto gated = std::make_unique<GatedStore>();
  GatedStore& store = *gated;
  Member c;
  c.store = std::move(gated);
  join(c, "c", kSecret);
  std::unique_lock held(store.histories);
  std::promise<void> begins;
  auto waiting = std::async(std::launch::async, [&] {
    begins.set_value();
    return c.host->history(counter("x"), {}, 10);
  });
  begins.get_future().get();
  open(c, "x");
  while (store.waiting == 0) std::this_thread::yield();
  std::promise<void> rings;
  clock_->call_in(1, [&] { rings.set_value(); });
  EXPECT_EQ(rings.get_future().wait_for(std::chrono::seconds(5)), std::future_status::ready);
  held.unlock();
  const auto history = waiting.get();
  ASSERT_TRUE(history) << history.error().message;
  EXPECT_TRUE(history->empty());
  c.cluster->close();
  c.local.reset();
}

}  // namespace

}  // namespace soma::runtime
