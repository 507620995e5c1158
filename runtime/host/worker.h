// A thread that runs tasks one after the other, for what must not run on a host's or a socket's
// thread.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "schemas/base/thread_name.h"

namespace soma::runtime {

// Thread-safe. The destructor runs what is queued, then joins.
class Worker {
 public:
  explicit Worker(const char* name = "soma-worker")
      : thread_([this, name] {
          name_thread(name);
          run();
        }) {}
  ~Worker() { stop(); }
  // Runs what is queued, then joins; what is posted later is dropped.
  void stop() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void post(std::function<void()> task) {
    {
      std::lock_guard lock(mutex_);
      if (stopped_) return;
      tasks_.push_back(std::move(task));
    }
    changed_.notify_one();
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return stopping_ || !tasks_.empty(); });
      if (tasks_.empty()) {
        stopped_ = true;
        return;
      }
      auto task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      task = nullptr;
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool stopping_ = false, stopped_ = false;
  std::thread thread_;
};

}  // namespace soma::runtime
