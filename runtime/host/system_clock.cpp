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

  std::int64_t steady_ms() const override {
    using namespace std::chrono;
    return duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
  }

  void call_at(std::int64_t at_ms, std::function<void()> wake) override {
    add(by_wall_, at_ms, std::move(wake));
  }
  void call_in(std::int64_t delay_ms, std::function<void()> wake) override {
    add(by_steady_, steady_ms() + delay_ms, std::move(wake));
  }

 private:
  using Alarms = std::multimap<std::int64_t, std::function<void()>>;
  static constexpr std::int64_t kNever = INT64_MAX;

  void add(Alarms& alarms, std::int64_t at_ms, std::function<void()> wake) {
    {
      std::lock_guard lock(mutex_);
      const auto place = alarms.emplace(at_ms, std::move(wake));
      if (place != alarms.begin()) return;  // the thread already wakes earlier than that
    }
    changed_.notify_one();
  }

  static std::int64_t wait_for(const Alarms& alarms, std::int64_t now) {
    return alarms.empty() ? kNever : alarms.begin()->first - now;
  }

  void ring() {
    name_thread("soma-clock");
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      const std::int64_t wall = wait_for(by_wall_, now_ms());
      const std::int64_t steady = wait_for(by_steady_, steady_ms());
      if (wall == kNever && steady == kNever) {
        changed_.wait(lock);
        continue;
      }
      if (wall > 0 && steady > 0) {  // wall time may be set: look again now and then
        changed_.wait_for(
            lock, std::chrono::milliseconds(std::min<std::int64_t>({wall, steady, kLookAgainMs})));
        continue;
      }
      Alarms& due = steady <= wall ? by_steady_ : by_wall_;  // the one that is later than the other
      auto wake = std::move(due.begin()->second);
      due.erase(due.begin());
      lock.unlock();
      wake();
      lock.lock();
    }
  }

  static constexpr std::int64_t kLookAgainMs = 500;

  std::mutex mutex_;
  std::condition_variable changed_;
  Alarms by_wall_, by_steady_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<Clock> make_system_clock() { return std::make_unique<SystemClock>(); }

}  // namespace soma::runtime
