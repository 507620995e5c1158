// A thread and a queue of alarms.
#include "runtime/host/system_clock.h"

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "schemas/base/thread_name.h"

namespace soma::runtime {

namespace {

class SystemClock final : public Clock {
 public:
  SystemClock() : thread_([this] { ring(); }) {}
  ~SystemClock() override {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  std::int64_t now_ms() const override {
    using namespace std::chrono;
    return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
  }

  void call_at(std::int64_t at_ms, std::function<void()> wake) override {
    {
      std::lock_guard lock(mutex_);
      const auto place = alarms_.emplace(at_ms, std::move(wake));
      if (place != alarms_.begin()) return;  // the thread already wakes earlier than that
    }
    changed_.notify_one();
  }

 private:
  void ring() {
    name_thread("soma-clock");
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      if (alarms_.empty()) {
        changed_.wait(lock);
        continue;
      }
      const std::int64_t wait = alarms_.begin()->first - now_ms();
      if (wait > 0) {  // wall time may be set: look again now and then
        changed_.wait_for(lock, std::chrono::milliseconds(std::min<std::int64_t>(wait, 500)));
        continue;
      }
      auto wake = std::move(alarms_.begin()->second);
      alarms_.erase(alarms_.begin());
      lock.unlock();
      wake();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::multimap<std::int64_t, std::function<void()>> alarms_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<Clock> make_system_clock() { return std::make_unique<SystemClock>(); }

}  // namespace soma::runtime
