// Two hosts on one log, as two nodes have it.
#pragma once

#include <future>
#include <set>

#include "tests/unit/host/fixture.h"

namespace soma::runtime {

// The log, whose reports of appends may wait.
class HeldReports : public events::Log {
 public:
  explicit HeldReports(events::Log& log) : log_(log) {}
  std::uint32_t partition_count() const override { return log_.partition_count(); }
  void append(PartitionId p, std::string record, OnReport done) override {
    log_.append(p, std::move(record), [this, done](const events::AppendReport& report) {
      {
        std::lock_guard lock(mutex_);
        if (held_) {
          waiting_.emplace_back([done, report] { done(report); });
          return;
        }
      }
      done(report);
    });
  }
  Result<std::vector<events::Record>> read(PartitionId p, Offset from,
                                           std::size_t max) const override {
    return log_.read(p, from, max);
  }
  Offset end(PartitionId p) const override { return log_.end(p); }
  std::uint64_t follow(std::function<void(PartitionId)> on_grow) override {
    return log_.follow(std::move(on_grow));
  }
  void unfollow(std::uint64_t subscription) override { log_.unfollow(subscription); }
  void run_apart(std::function<void()> work) override { log_.run_apart(std::move(work)); }
  bool pump() override { return log_.pump(); }
  Status health() const override { return log_.health(); }

  void hold() {
    std::lock_guard lock(mutex_);
    held_ = true;
  }
  void release() {
    std::vector<std::function<void()>> waiting;
    {
      std::lock_guard lock(mutex_);
      held_ = false;
      waiting.swap(waiting_);
    }
    for (const auto& report : waiting) report();
  }

 private:
  events::Log& log_;
  std::mutex mutex_;
  bool held_ = false;
  std::vector<std::function<void()>> waiting_;
};

class SharedHosts : public HostFixture {
 protected:
  struct Member {
    CountingRunner runner;
    std::unique_ptr<StateStore> store = make_memory_store();
    std::unique_ptr<PartitionHost> host;
    std::atomic<int> fenced{0};
    std::atomic<bool> may_claim{true};  // else its claims wait, as without brokers
  };

  void SetUp() override {
    HostFixture::SetUp();
    host_.reset();  // the fixture's own owns everything; its log serves both
    reports_of_a_ = std::make_unique<HeldReports>(*log_);
    for (Member* m : {&a_, &b_}) {
      HostParts parts{m == &a_ ? reports_of_a_.get() : log_.get(),
                      catalog_.get(),
                      clock_.get(),
                      &m->runner,
                      m->store.get(),
                      m == &a_ ? "a" : "b",
                      "",
                      limits_,
                      2,
                      {},
                      {}};
      parts.shared.emplace();
      parts.shared->on_fenced = [m](PartitionId) { ++m->fenced; };
      parts.shared->before_claim = [m]() -> Status {
        if (!m->may_claim) return fail(Code::kUnavailable, "no broker");
        return {};
      };
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

  std::unique_ptr<HeldReports> reports_of_a_;
  Member a_, b_;
  std::atomic<bool> lose_{false};
  std::atomic<std::uint32_t> told_{0};
};

}  // namespace soma::runtime
