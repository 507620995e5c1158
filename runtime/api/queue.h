// Requests that take long: few at a time, on threads of their own, so that they delay no others.
#pragma once

#include <algorithm>
#include <atomic>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "runtime/host/worker.h"
#include "runtime/http/stream.h"
#include "runtime/telemetry/log.h"

namespace soma::runtime::api {

// Thread-safe. Who owns it decides what its tasks may still read: its end waits for what runs, and
// what waits is dropped, its request answered by its responder's end.
class Queue {
 public:
  // Of what runs or waits. `tenant`: so that one cannot take all of it.
  struct Limits {
    std::size_t threads = 1, tenant = 2, all = 6;
  };
  // `what`: "exports", for the refusal.
  Queue(const char* thread, std::string what, Limits limits)
      : what_(std::move(what)), limits_(limits), load_(limits.threads) {
    for (std::size_t i = 0; i < limits.threads; ++i)
      threads_.push_back(std::make_unique<Worker>(thread));
  }

  ~Queue() { stopping_ = true; }

  bool stopping() const { return stopping_; }  // what runs should end soon

  // 503, and not posted, where the tenant or all have as many as they may.
  void post(const http::Responder& responder, const std::string& tenant,
            std::function<void()> task) {
    std::unique_lock lock(mutex_);
    if (all_ >= limits_.all || tenants_[tenant] >= limits_.tenant) {
      lock.unlock();
      return responder.send(
          http::problem_retry({Code::kOverloaded, "other " + what_ + " are under way", {}}, 5));
    }
    ++all_;
    ++tenants_[tenant];
    const auto at =
        static_cast<std::size_t>(std::min_element(load_.begin(), load_.end()) - load_.begin());
    ++load_[at];
    threads_[at]->post([this, at, tenant, task = std::move(task)] {
      if (!stopping_) run(task);
      const std::lock_guard done(mutex_);
      --all_;
      --load_[at];
      if (--tenants_[tenant] == 0) tenants_.erase(tenant);
    });
  }

 private:
  // A defect costs its request, whose responder answers 500 when it goes, and not the node.
  void run(const std::function<void()>& task) const {
    try {
      task();
    } catch (const std::exception& e) {
      log_error("a long request failed", {{"what", what_}, {"reason", e.what()}});
    }
  }

  const std::string what_;
  const Limits limits_;
  std::mutex mutex_;
  std::size_t all_ = 0;
  std::map<std::string, std::size_t> tenants_;
  std::vector<std::size_t> load_;  // by thread
  std::atomic<bool> stopping_{false};
  std::vector<std::unique_ptr<Worker>> threads_;  // last: they end first
};

}  // namespace soma::runtime::api
