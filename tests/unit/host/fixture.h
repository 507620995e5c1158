// A host on a real embedded log in a temporary folder, driven synchronously.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <future>
#include <mutex>
#include <set>
#include <thread>

#include "events/embedded/embedded_log.h"
#include "runtime/host/host.h"
#include "runtime/host/system_clock.h"
#include "runtime/snapshots/memory_store.h"
#include "soma/v1/counter.pb.h"

namespace soma::runtime {

// Counts the calls it was asked for; answers at once, or never when `silent`.
class CountingRunner final : public EffectRunner {
 public:
  void run(Job job, OnOutcome done) override {
    {
      std::lock_guard lock(mutex_);
      ++runs[job.effect.effect_id];
    }
    if (silent) return;
    v1::EffectOutcome outcome;
    outcome.set_effect_id(job.effect.effect_id);
    outcome.set_attempt(job.effect.attempt);
    outcome.set_result("ok");
    done(std::move(outcome));
  }
  void cancel(const std::string& id) override {
    std::lock_guard lock(mutex_);
    cancelled_.insert(id);
  }
  bool cancelled(const std::string& id) {
    std::lock_guard lock(mutex_);
    return cancelled_.contains(id);
  }
  int count(const std::string& id) {
    std::lock_guard lock(mutex_);
    return runs[id];
  }
  std::map<std::string, int> runs;
  std::atomic<bool> silent{false};

 private:
  std::mutex mutex_;
  std::set<std::string> cancelled_;
};

class HostFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              ("soma-host-" + std::to_string(::getpid()) + "-" +
               ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(folder_);
    store_ = make_memory_store();
    start();
  }
  void TearDown() override {
    crash();
    std::filesystem::remove_all(folder_);
  }

  void start() {
    events::EmbeddedOptions o;
    o.folder = folder_.string();
    o.segment_bytes = segment_bytes_;
    o.ops.reserve = [this, real = o.ops.reserve](int fd, std::size_t size) {
      return disk_full_ ? ENOSPC : real(fd, size);
    };
    o.ops.write_at = [this, real = o.ops.write_at](int fd, const void* data, std::size_t size,
                                                   off_t at) {
      std::lock_guard held(disk_);
      return real(fd, data, size, at);
    };
    auto log = events::open_embedded_log(std::move(o));
    ASSERT_TRUE(log) << log.error().message;
    log_ = std::move(*log);
    HostParts parts{log_.get(),
                    catalog_.get(),
                    clock_.get(),
                    &runner_,
                    store_.get(),
                    "test",
                    "",
                    limits_,
                    2,
                    {},
                    {}};
    auto host = start_host(parts);
    ASSERT_TRUE(host) << host.error().message;
    host_ = std::move(*host);
  }
  // Memory goes as it would with the process; only the log, and what the store was given, remain.
  void crash() {
    host_.reset();
    log_.reset();
  }
  void restart() {
    crash();
    start();
  }

  // Until no partition is being recovered.
  void all_serve() const {
    const auto serving = [this] {
      const auto all = host_->status();
      return std::all_of(all.begin(), all.end(), [](const auto& p) { return p.serving; });
    };
    while (!serving()) std::this_thread::yield();
  }

  static ActorKey counter(const std::string& id) { return {"demo", "counter", id, {}}; }

  Result<Accepted> submit(const ActorKey& actor, const v1::CounterCommand& command,
                          const std::string& id, const std::string& hash = {}) {
    for (int tries = 0;; ++tries) {
      std::promise<Result<Accepted>> promise;
      host_->submit({actor, command.SerializeAsString(), id, hash, {}, {}, {}},
                    [&](Result<Accepted> r) { promise.set_value(std::move(r)); });
      auto result = promise.get_future().get();
      if (result || result.error().code != Code::kUnavailable || tries > 2000) return result;
      std::this_thread::yield();  // still recovering
    }
  }
  Result<Accepted> add(const std::string& id, std::int64_t amount, const std::string& command_id) {
    v1::CounterCommand c;
    c.mutable_add()->set_amount(amount);
    return submit(counter(id), c, command_id, std::to_string(amount));
  }
  // One more, for a test that submits by itself.
  static Submission one_more(const std::string& id, const std::string& command_id, bool once) {
    v1::CounterCommand c;
    c.mutable_add()->set_amount(1);
    return {counter(id), c.SerializeAsString(), command_id, {}, {}, {}, {}, once};
  }
  v1::CounterState state(const std::string& id) {
    for (;;) {
      std::promise<Result<StateView>> promise;
      host_->read(counter(id), [&](Result<StateView> r) { promise.set_value(std::move(r)); });
      auto view = promise.get_future().get();
      if (view) return static_cast<const v1::CounterState&>(*view->state);
      EXPECT_EQ(view.error().code, Code::kUnavailable) << view.error().message;
    }
  }
  // Until the state is as wanted; the test's own time limit ends a wait for ever.
  template <typename Predicate>
  v1::CounterState eventually(const std::string& id, Predicate wanted) {
    for (;;) {
      auto s = state(id);
      if (wanted(s)) return s;
      std::this_thread::yield();
    }
  }

  std::filesystem::path folder_;
  std::unique_ptr<actors::Catalog> catalog_ = actors::standard_catalog();
  std::unique_ptr<Clock> clock_ = make_system_clock();
  CountingRunner runner_;
  HostLimits limits_;
  std::uint64_t segment_bytes_ = 4 << 20;
  std::atomic<bool> disk_full_{false};  // no new segment can be made
  std::mutex disk_;                     // while it is held nothing is written
  std::unique_ptr<StateStore> store_;
  std::unique_ptr<events::Log> log_;
  std::unique_ptr<Host> host_;
};

}  // namespace soma::runtime
