// Follows all partitions, off the acknowledgement path: how an idle owner hears of a foreign claim.
#pragma once

#include <atomic>
#include <memory>
#include <thread>

#include "events/kafka/client.h"
#include "events/kafka/partitions.h"
#include "events/kafka/record_cache.h"

namespace soma::events::kafka {

// Owned by the log; one client handle and one thread of its own.
class Tail {
 public:
  // Follows from each partition's known end.
  static Result<std::unique_ptr<Tail>> start(const KafkaOptions& options, Ends& ends,
                                             RecordCache& cache);
  ~Tail();
  std::uint64_t tailed() const { return tailed_.load(std::memory_order_relaxed); }

 private:
  Tail(const KafkaOptions& options, Ends& ends, RecordCache& cache);
  Status open();
  void run();

  const KafkaOptions& options_;
  Ends& ends_;
  RecordCache& cache_;
  ClientEvents events_;
  Client client_;
  TopicHandle topic_;
  QueueHandle queue_;
  std::atomic<std::uint64_t> tailed_{0};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace soma::events::kafka
