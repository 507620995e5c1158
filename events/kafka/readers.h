// Reads by partition and offset from a small pool of simple consumers.
#pragma once

#include <array>
#include <condition_variable>
#include <memory>
#include <mutex>

#include "events/kafka/client.h"

namespace soma::events::kafka {

// Owned by the log; thread-safe; blocks. A consumer that stopped in the middle of a partition goes
// on from there, so that a scan is one stream.
class Readers {
 public:
  explicit Readers(const KafkaOptions& options);
  ~Readers();

  // Offset after the last record, asked of the partition's leader.
  Result<Offset> end(PartitionId partition);
  // At least one record, if there is one below `limit`; none where only control records stand.
  Result<std::vector<Record>> read(PartitionId partition, Offset from, Offset limit,
                                   std::size_t max_bytes);

 private:
  static constexpr std::size_t kConsumers = 6;  // made when they are needed
  struct Consumer;
  class Lease;
  Consumer& acquire(PartitionId partition, Offset from);
  void release(Consumer& consumer);
  Status open(Consumer& consumer);
  Status seek(Consumer& consumer, PartitionId partition, Offset from);
  static void stop(Consumer& consumer);
  Result<std::vector<Record>> gather(Consumer& consumer, Offset limit, std::size_t max_bytes);

  const KafkaOptions& options_;
  const std::string topic_name_;
  std::mutex mutex_;
  std::condition_variable freed_;
  std::array<std::unique_ptr<Consumer>, kConsumers> consumers_;
  std::uint64_t clock_ = 0;
};

}  // namespace soma::events::kafka
