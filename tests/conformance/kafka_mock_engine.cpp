// The Kafka log under the conformance suite, on librdkafka's mock cluster of three brokers.
#include <cstdlib>
#include <thread>

#include "events/kafka/kafka_log.h"
#include "tests/conformance/engine.h"
#include "tests/support/mock_cluster.h"

namespace soma::events::conformance {

namespace {

class KafkaMockEngine final : public Engine {
 public:
  explicit KafkaMockEngine(std::uint32_t partitions) {
    static support::MockCluster cluster(3);  // a second to end
    options_ = cluster.options(partitions);
    reopen();
  }
  Log& log() override { return *log_; }
  void until(const std::function<bool()>& done) override {
    while (!done()) std::this_thread::yield();
  }
  void reopen() override {
    log_.reset();
    auto log = open_kafka_log(options_);
    if (!log) std::abort();
    log_ = std::move(*log);
  }

 private:
  KafkaOptions options_;
  std::unique_ptr<KafkaLog> log_;
};

}  // namespace

std::unique_ptr<Engine> make_engine(std::uint32_t partitions) {
  return std::make_unique<KafkaMockEngine>(partitions);
}

}  // namespace soma::events::conformance
