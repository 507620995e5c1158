// The only place that knows CAF: one event-based actor per executor, one message type.
#include <caf/all.hpp>
#include <caf/scheduler/test_coordinator.hpp>
#include <deque>
#include <mutex>

#include "runtime/host/executor.h"
#include "runtime/telemetry/log.h"

namespace soma::runtime {

// What an executor still has to run. One message is under way while there is anything: a message a
// task would cost more than most tasks.
class TaskQueue {
 public:
  explicit TaskQueue(std::size_t tasks_per_message) : batch_(tasks_per_message) {}

  // True when a message must be sent.
  bool push(std::function<void()> task) {
    std::lock_guard lock(mutex_);
    if (closed_) return false;
    tasks_.push_back(std::move(task));
    return !std::exchange(under_way_, true);
  }
  // Runs some; true when another message must be sent for the rest.
  bool run() {
    for (std::size_t n = 0; n < batch_; ++n) {
      std::function<void()> task;
      {
        std::lock_guard lock(mutex_);
        if (tasks_.empty()) {
          under_way_ = false;
          return false;
        }
        task = std::move(tasks_.front());
        tasks_.pop_front();
      }
      task();
    }
    std::lock_guard lock(mutex_);
    return under_way_ = !tasks_.empty();
  }
  void close() {
    std::deque<std::function<void()>> dropped;  // destroyed unlocked: what they hold may post
    std::lock_guard lock(mutex_);
    closed_ = true;
    dropped.swap(tasks_);
  }

 private:
  const std::size_t batch_;
  std::mutex mutex_;
  std::deque<std::function<void()>> tasks_;
  bool under_way_ = false, closed_ = false;
};

struct TaskMessage {
  std::shared_ptr<TaskQueue> queue;
};
}  // namespace soma::runtime
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(soma::runtime::TaskMessage)

namespace soma::runtime {

namespace {

constexpr std::size_t kTasksPerMessage = 256;  // then others have their turn

// CAF 0.17 dereferences a null tuple when a spawned function takes no argument of its own.
struct Unused {};

caf::behavior run_tasks(caf::event_based_actor* self, Unused) {
  return {[self](const TaskMessage& message) {
    try {
      if (message.queue->run()) self->send(self, message);
    } catch (const std::exception&
                 e) {  // a broken invariant; memory may be wrong, and restart is replay
      log_error("task failed", {{"reason", e.what()}});
      std::abort();
    }
  }};
}

class CafExecutor final : public Executor {
 public:
  CafExecutor(caf::actor_system& system, std::size_t tasks_per_message)
      : queue_(std::make_shared<TaskQueue>(tasks_per_message)),
        actor_(system.spawn(run_tasks, Unused{})) {}
  ~CafExecutor() override {
    queue_->close();
    caf::anon_send_exit(actor_, caf::exit_reason::kill);
  }
  void post(std::function<void()> task) override {
    if (queue_->push(std::move(task))) caf::anon_send(actor_, TaskMessage{queue_});
  }

 private:
  std::shared_ptr<TaskQueue> queue_;
  caf::actor actor_;
};

class CafExecutors final : public ExecutorFactory {
 public:
  explicit CafExecutors(std::size_t threads) {
    config_.set("scheduler.policy",
                caf::atom("sharing"));  // `stealing` livelocks under an outside flood
    config_.set("scheduler.max-threads", threads);
    system_ = std::make_unique<caf::actor_system>(config_);
  }
  std::shared_ptr<Executor> make() override {
    return std::make_shared<CafExecutor>(*system_, kTasksPerMessage);
  }

 private:
  caf::actor_system_config config_;
  std::unique_ptr<caf::actor_system> system_;
};

class CafTestingExecutors final : public TestingExecutors {
 public:
  CafTestingExecutors() {
    config_.set("scheduler.policy", caf::atom("testing"));
    system_ = std::make_unique<caf::actor_system>(config_);
  }
  ~CafTestingExecutors() override {
    while (run_one()) {
    }
  }
  std::shared_ptr<Executor> make() override {
    return std::make_shared<CafExecutor>(*system_, 1);  // one step a task
  }
  bool run_one() override {
    return dynamic_cast<caf::scheduler::test_coordinator&>(system_->scheduler()).try_run_once();
  }

 private:
  caf::actor_system_config config_;
  std::unique_ptr<caf::actor_system> system_;
};

}  // namespace

std::unique_ptr<ExecutorFactory> make_caf_executors(std::size_t threads) {
  return std::make_unique<CafExecutors>(threads);
}

std::unique_ptr<TestingExecutors> make_testing_executors() {
  return std::make_unique<CafTestingExecutors>();
}

}  // namespace soma::runtime
