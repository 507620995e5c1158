// Real Kafka brokers for a test: tools/kafka/broker in a temporary folder, gone with the process.
#pragma once

#include <string>

#include "events/kafka/kafka_log.h"

namespace soma::support {

// Aborts when a broker does not start; seconds each. Not thread-safe.
class RealCluster {
 public:
  explicit RealCluster(int brokers);
  ~RealCluster();
  RealCluster(const RealCluster&) = delete;
  RealCluster& operator=(const RealCluster&) = delete;

  const std::string& bootstrap() const { return bootstrap_; }
  // How to open a journal that nobody else uses.
  events::KafkaOptions options(std::uint32_t partitions);
  void kill(int node);    // kill -9
  void resume(int node);  // returns when it serves again
  // kafka-topics.sh or kafka-configs.sh; what it printed.
  std::string run(const std::string& command_and_arguments);

 private:
  std::string folder_;
  std::string bootstrap_;
  int journals_ = 0;
};

}  // namespace soma::support
