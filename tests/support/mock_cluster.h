// librdkafka's mock cluster with one owner: real sockets, no disk, brokers that obey.
#pragma once

#include <memory>
#include <string>

#include "events/kafka/kafka_log.h"

namespace soma::support {

// Holds at most 5 MB a partition. Not thread-safe.
class MockCluster {
 public:
  explicit MockCluster(int brokers);
  ~MockCluster();
  MockCluster(const MockCluster&) = delete;
  MockCluster& operator=(const MockCluster&) = delete;

  // Makes the topic of a journal that nobody else uses, and says how to open it.
  events::KafkaOptions options(std::uint32_t partitions);
  void make_topic(const std::string& name, std::uint32_t partitions);
  std::string bootstrap() const;
  // Brokers are counted from 1.
  void set_leader(const events::KafkaOptions& journal, std::uint32_t partition, int broker);
  void set_down(int broker);
  void set_up(int broker);
  void set_rtt(int broker, int milliseconds);
  // The next `count` produce requests to any broker are answered with this Kafka error code.
  void fail_produce(int code, int count);
  void fail_commit(int code);  // so is the next commit of offsets
  void fail_join(int code);    // and the next join of a group

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace soma::support
