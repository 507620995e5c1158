// Wakes the one thread that waits for librdkafka.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>

#include "events/kafka/client.h"

namespace soma::events::kafka {

// Raised from librdkafka's threads under its locks, so nothing of it is called meanwhile.
// Only a wait lowers it: what was raised before a wait ends it.
class Signal {
 public:
  void raise() {
    {
      std::lock_guard lock(mutex_);
      raised_ = true;
      if (also_) also_();
    }
    changed_.notify_one();
  }
  void wait_until(std::chrono::steady_clock::time_point until) {
    std::unique_lock lock(mutex_);
    changed_.wait_until(lock, until, [&] { return raised_; });
    raised_ = false;
  }
  // Whom to tell, too; it must not call back.
  void also(std::function<void()> tell) {
    std::lock_guard lock(mutex_);
    also_ = std::move(tell);
  }
  // When something comes to the queue while it is empty. The signal outlives the queue's client.
  void watch(const QueueHandle& queue) {
    rd_kafka_queue_cb_event_enable(
        queue.get(), [](rd_kafka_t*, void* self) { static_cast<Signal*>(self)->raise(); }, this);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::function<void()> also_;
  bool raised_ = false;
};

}  // namespace soma::events::kafka
