// Two hosts on one log, as two nodes have it: who decides for a partition, and what the other says.
#include <future>
#include <set>

#include "tests/unit/host/fixture.h"

namespace soma::runtime {

namespace {

class SharedHosts : public HostFixture {
 protected:
  struct Member {
    std::unique_ptr<StateStore> store = make_memory_store();
    std::unique_ptr<PartitionHost> host;
    std::atomic<int> fenced{0};
  };

  void SetUp() override {
    HostFixture::SetUp();
    host_.reset();  // the fixture's own owns everything; its log serves both
    for (Member* m : {&a_, &b_}) {
      HostParts parts{log_.get(),
                      catalog_.get(),
                      clock_.get(),
                      &runner_,
                      m->store.get(),
                      m == &a_ ? "a" : "b",
                      "",
                      limits_,
                      2,
                      {},
                      {}};
      parts.shared.emplace();
      parts.shared->on_fenced = [m](PartitionId) { ++m->fenced; };
      parts.shared->relay = [this](PartitionId source, PartitionId target, v1::OutboxItem item) {
        if (lost()) return;
        for (Member* to : {&a_, &b_})
          if (to->host && to->host->here(target)) to->host->receive(source, target, item);
      };
      parts.shared->acknowledge = [this](PartitionId source, PartitionId target, std::uint64_t n) {
        if (lost()) return;
        for (Member* to : {&a_, &b_})
          if (to->host && to->host->here(source)) to->host->acknowledged(source, target, n);
      };
      auto host = start_host(std::move(parts));
      ASSERT_TRUE(host) << host.error().message;
      m->host = std::move(*host);
    }
  }
  void TearDown() override {
    a_.host.reset();
    b_.host.reset();
    HostFixture::TearDown();
  }

  PartitionId partition(const std::string& id) const {
    return partition_of(counter(id), log_->partition_count());
  }
  static Result<Accepted> try_add(PartitionHost& host, const std::string& id, std::int64_t amount,
                                  const std::string& command_id) {
    v1::CounterCommand c;
    c.mutable_add()->set_amount(amount);
    std::promise<Result<Accepted>> promise;
    host.submit({counter(id), c.SerializeAsString(), command_id, {}, {}, {}, {}},
                [&](Result<Accepted> r) { promise.set_value(std::move(r)); });
    return promise.get_future().get();
  }
  static Result<Accepted> add_at(PartitionHost& host, const std::string& id, std::int64_t amount,
                                 const std::string& command_id) {
    for (;;) {
      auto r = try_add(host, id, amount, command_id);
      if (r || r.error().code != Code::kUnavailable) return r;
      std::this_thread::yield();
    }
  }
  static Result<std::int64_t> value_at(PartitionHost& host, const std::string& id) {
    for (;;) {
      std::promise<Result<StateView>> promise;
      host.read(counter(id), [&](Result<StateView> r) { promise.set_value(std::move(r)); });
      auto view = promise.get_future().get();
      if (view) return static_cast<const v1::CounterState&>(*view->state).value();
      if (view.error().code != Code::kUnavailable) return tl::unexpected(view.error());
      std::this_thread::yield();
    }
  }
  static void close(PartitionHost& host, PartitionId p) {
    std::promise<void> closed;
    host.close(p, [&] { closed.set_value(); });
    closed.get_future().get();
  }

  // About every second one, in no order that a resend could fall into step with.
  bool lost() { return lose_ && ((++told_ * 2654435761u) >> 13) % 2 == 1; }

  Member a_, b_;
  std::atomic<bool> lose_{false};
  std::atomic<std::uint32_t> told_{0};
};

TEST_F(SharedHosts, APartitionThatIsNotOursAnswersNothing) {
  EXPECT_EQ(try_add(*a_.host, "x", 1, "1").error().code, Code::kFenced);
  EXPECT_EQ(value_at(*a_.host, "x").error().code, Code::kFenced);
  EXPECT_EQ(a_.host->history(counter("x"), {}, 10).error().code, Code::kFenced);
  EXPECT_TRUE(a_.host->status().empty());
  a_.host->open(partition("x"));
  ASSERT_TRUE(add_at(*a_.host, "x", 1, "1"));
  EXPECT_EQ(a_.host->status().size(), 1u);
}

TEST_F(SharedHosts, AHandedOverPartitionGoesOnWithWhatWasThere) {
  const auto p = partition("x");
  a_.host->open(p);
  for (int i = 1; i <= 20; ++i) ASSERT_TRUE(add_at(*a_.host, "x", 1, std::to_string(i)));
  close(*a_.host, p);
  EXPECT_FALSE(a_.host->here(p));
  EXPECT_EQ(try_add(*a_.host, "x", 1, "21").error().code, Code::kFenced);
  b_.host->open(p);
  const auto again = add_at(*b_.host, "x", 1, "20");
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->replayed);  // a retry at the new owner is not done twice
  ASSERT_TRUE(add_at(*b_.host, "x", 1, "21"));
  EXPECT_EQ(*value_at(*b_.host, "x"), 21);
  close(*b_.host, p);
  a_.host->open(p);  // and back, over a checkpoint of its own that is older
  ASSERT_TRUE(add_at(*a_.host, "x", 1, "22"));
  EXPECT_EQ(*value_at(*a_.host, "x"), 22);
  EXPECT_EQ(a_.fenced + b_.fenced, 0);
}

TEST_F(SharedHosts, AnOwnerThatWasOvertakenShowsNothingOld) {
  const auto p = partition("x");
  a_.host->open(p);
  ASSERT_TRUE(add_at(*a_.host, "x", 1, "1"));
  b_.host->open(p);  // as when `a` was frozen for long
  ASSERT_TRUE(add_at(*b_.host, "x", 1, "2"));
  EXPECT_EQ(value_at(*a_.host, "x").error().code, Code::kFenced);  // its memory says 1
  EXPECT_EQ(a_.fenced, 1);
  EXPECT_FALSE(a_.host->here(p));
  EXPECT_EQ(*value_at(*b_.host, "x"), 2);
  EXPECT_EQ(b_.fenced, 0);
}

TEST_F(SharedHosts, AnOwnerThatWasOvertakenRecordsNothing) {
  const auto p = partition("x");
  a_.host->open(p);
  ASSERT_TRUE(add_at(*a_.host, "x", 1, "1"));
  b_.host->open(p);
  ASSERT_TRUE(add_at(*b_.host, "x", 10, "2"));
  EXPECT_FALSE(try_add(*a_.host, "x", 100, "3"));
  ASSERT_TRUE(add_at(*b_.host, "x", 100, "3"));  // the client's retry
  EXPECT_EQ(*value_at(*b_.host, "x"), 111);
}

TEST_F(SharedHosts, AClaimReadInTheLogEndsTheServiceAtOnce) {
  const auto p = partition("x");
  a_.host->open(p);
  ASSERT_TRUE(add_at(*a_.host, "x", 1, "1"));
  const Epoch epoch = a_.host->status()[0].epoch;
  a_.host->claimed_elsewhere(p, epoch);  // its own
  ASSERT_TRUE(add_at(*a_.host, "x", 1, "2"));
  a_.host->claimed_elsewhere(p, epoch.next());
  EXPECT_EQ(try_add(*a_.host, "x", 1, "3").error().code, Code::kFenced);
  EXPECT_EQ(a_.fenced, 1);
}

TEST_F(SharedHosts, SendsBetweenOwnersArriveOnceThoughHalfOfThemAreLost) {
  std::string there = "there";
  for (int i = 0; partition(there) == partition("here"); ++i) there = "there" + std::to_string(i);
  lose_ = true;
  a_.host->open(partition("here"));
  b_.host->open(partition(there));
  ASSERT_TRUE(add_at(*b_.host, there, 1000, "begin"));
  ASSERT_TRUE(add_at(*a_.host, "here", 50, "funds"));
  for (int i = 0; i < 12; ++i) {
    v1::CounterCommand c;
    c.mutable_transfer()->set_amount(1);
    *c.mutable_transfer()->mutable_to() = actors::to_ref(counter(there));
    std::promise<Result<Accepted>> promise;
    do {
      promise = {};
      a_.host->submit(
          {counter("here"), c.SerializeAsString(), "t" + std::to_string(i), {}, {}, {}, {}},
          [&](Result<Accepted> r) { promise.set_value(std::move(r)); });
      auto r = promise.get_future().get();
      if (r) break;
      ASSERT_EQ(r.error().code, Code::kUnavailable);
    } while (true);
  }
  while (*value_at(*b_.host, there) < 1012) std::this_thread::yield();
  // What was not acknowledged comes again to a new owner of the target, and is known there.
  close(*b_.host, partition(there));
  a_.host->open(partition(there));
  ASSERT_TRUE(add_at(*a_.host, there, 1, "end"));
  EXPECT_EQ(*value_at(*a_.host, there), 1013);
}

}  // namespace

}  // namespace soma::runtime
