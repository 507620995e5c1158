// Two schedulers behind one face: our own, and CAF's.
#include "runtime/sim/sim_executors.h"

#include <algorithm>

namespace soma::sim {

namespace {

using Task = std::function<void()>;

class Shuffled final : public Tasks {
 public:
  struct Box {
    std::deque<Task> tasks;
  };

  Shuffled(Order order, Rng rng) : order_(order), rng_(rng) {}

  void post(const std::shared_ptr<Box>& box, Task task) {
    if (dropped_) return;
    if (box->tasks.empty()) ready_.push_back(box);
    box->tasks.push_back(std::move(task));
  }
  bool ready() const override { return !ready_.empty(); }
  void run_one() override {
    std::size_t at = 0;
    if (order_ == Order::kRandom) at = static_cast<std::size_t>(rng_.below(ready_.size()));
    if (order_ == Order::kNewest && !rng_.chance(100'000)) at = ready_.size() - 1;
    const std::shared_ptr<Box> box = ready_[at];
    ready_.erase(ready_.begin() + static_cast<std::ptrdiff_t>(at));
    const Task task = std::move(box->tasks.front());
    box->tasks.pop_front();
    if (!box->tasks.empty()) ready_.push_back(box);
    task();
  }
  void drop() override {
    dropped_ = true;
    std::vector<std::shared_ptr<Box>> gone;
    gone.swap(ready_);
    for (const auto& box : gone) {
      std::deque<Task> tasks;
      tasks.swap(box->tasks);  // destroying one may post: that is dropped as well
    }
  }
  void leave(const std::shared_ptr<Box>& box) {  // its executor is gone, and with it what waits
    std::erase(ready_, box);
    std::deque<Task> tasks;
    tasks.swap(box->tasks);
  }

 private:
  const Order order_;
  Rng rng_;
  bool dropped_ = false;
  std::vector<std::shared_ptr<Box>> ready_;
};

class ShuffledExecutor final : public runtime::Executor {
 public:
  explicit ShuffledExecutor(std::shared_ptr<Shuffled> all) : all_(std::move(all)) {}
  ~ShuffledExecutor() override { all_->leave(box_); }
  void post(Task task) override { all_->post(box_, std::move(task)); }

 private:
  std::shared_ptr<Shuffled> all_;
  std::shared_ptr<Shuffled::Box> box_ = std::make_shared<Shuffled::Box>();
};

class ShuffledFactory final : public runtime::ExecutorFactory {
 public:
  explicit ShuffledFactory(std::shared_ptr<Shuffled> all) : all_(std::move(all)) {}
  std::shared_ptr<runtime::Executor> make() override {
    return std::make_shared<ShuffledExecutor>(all_);
  }

 private:
  std::shared_ptr<Shuffled> all_;
};

// CAF's mailboxes cannot be emptied from outside, so a dead process's tasks do nothing instead.
class CafTasks final : public Tasks {
 public:
  explicit CafTasks(std::shared_ptr<Life> life) : life_(std::move(life)) {}
  bool ready() const override { return queued_ > 0 && caf != nullptr; }
  void run_one() override {
    if (!caf->run_one()) queued_ = 0;
  }
  void drop() override { dropped_ = true; }
  Task wrap(Task task) {
    ++queued_;
    return [this_life = life_, self = self_, task = std::move(task)] {
      if (auto tasks = self.lock()) {
        if (tasks->queued_ > 0) --tasks->queued_;
        if (tasks->dropped_) return;
        task();
      }
    };
  }

  runtime::TestingExecutors* caf = nullptr;  // until the host destroys it
  std::weak_ptr<CafTasks> self_;

 private:
  std::shared_ptr<Life> life_;
  std::size_t queued_ = 0;
  bool dropped_ = false;
};

class CafExecutor final : public runtime::Executor {
 public:
  CafExecutor(std::shared_ptr<CafTasks> tasks, std::shared_ptr<runtime::Executor> inner)
      : tasks_(std::move(tasks)), inner_(std::move(inner)) {}
  void post(Task task) override { inner_->post(tasks_->wrap(std::move(task))); }

 private:
  std::shared_ptr<CafTasks> tasks_;
  std::shared_ptr<runtime::Executor> inner_;
};

class CafFactory final : public runtime::ExecutorFactory {
 public:
  explicit CafFactory(std::shared_ptr<CafTasks> tasks)
      : tasks_(std::move(tasks)), inner_(runtime::make_testing_executors()) {
    tasks_->caf = inner_.get();
  }
  ~CafFactory() override {
    tasks_->drop();
    tasks_->caf = nullptr;
    inner_.reset();
  }
  std::shared_ptr<runtime::Executor> make() override {
    return std::make_shared<CafExecutor>(tasks_, inner_->make());
  }

 private:
  std::shared_ptr<CafTasks> tasks_;
  std::unique_ptr<runtime::TestingExecutors> inner_;
};

}  // namespace

MadeExecutors make_executors(Order order, std::shared_ptr<Life> life, Rng rng) {
  if (order == Order::kCaf) {
    auto tasks = std::make_shared<CafTasks>(std::move(life));
    tasks->self_ = tasks;
    return {std::make_unique<CafFactory>(tasks), tasks};
  }
  auto tasks = std::make_shared<Shuffled>(order, rng);
  return {std::make_unique<ShuffledFactory>(tasks), tasks};
}

}  // namespace soma::sim
