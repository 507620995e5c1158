// A mailbox: runs the tasks posted to it one after the other. Each is one CAF actor.
#pragma once

#include <functional>
#include <memory>

namespace soma::runtime {

// Thread-safe to post to. Tasks never overlap and see each other's writes.
class Executor {
 public:
  virtual ~Executor() = default;  // tasks not yet begun are dropped
  virtual void post(std::function<void()> task) = 0;
};

// Makes executors over one actor system. Thread-safe.
class ExecutorFactory {
 public:
  virtual ~ExecutorFactory() = default;
  virtual std::shared_ptr<Executor> make() = 0;
};

// CAF with the `sharing` scheduler on `threads` threads.
std::unique_ptr<ExecutorFactory> make_caf_executors(std::size_t threads);

// CAF's testing scheduler: nothing runs until pumped, in a fixed order.
class TestingExecutors : public ExecutorFactory {
 public:
  virtual bool run_one() = 0;  // false when nothing was to run
};
std::unique_ptr<TestingExecutors> make_testing_executors();

}  // namespace soma::runtime
