// The only place that knows CAF: one event-based actor per executor, one message type.
#include <caf/all.hpp>
#include <caf/scheduler/test_coordinator.hpp>

#include "runtime/host/executor.h"
#include "runtime/telemetry/log.h"

namespace soma::runtime {
struct TaskMessage {
  std::shared_ptr<std::function<void()>> run;
};
}  // namespace soma::runtime
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(soma::runtime::TaskMessage)

namespace soma::runtime {

namespace {

// CAF 0.17 dereferences a null tuple when a spawned function takes no argument of its own.
struct Unused {};

caf::behavior run_tasks(caf::event_based_actor*, Unused) {
  return {[](const TaskMessage& message) {
    try {
      (*message.run)();
    } catch (const std::exception&
                 e) {  // a broken invariant; memory may be wrong, and restart is replay
      log_error("task failed", {{"reason", e.what()}});
      std::abort();
    }
  }};
}

class CafExecutor final : public Executor {
 public:
  explicit CafExecutor(caf::actor_system& system) : actor_(system.spawn(run_tasks, Unused{})) {}
  ~CafExecutor() override { caf::anon_send_exit(actor_, caf::exit_reason::kill); }
  void post(std::function<void()> task) override {
    caf::anon_send(actor_, TaskMessage{std::make_shared<std::function<void()>>(std::move(task))});
  }

 private:
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
  std::shared_ptr<Executor> make() override { return std::make_shared<CafExecutor>(*system_); }

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
  std::shared_ptr<Executor> make() override { return std::make_shared<CafExecutor>(*system_); }
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
