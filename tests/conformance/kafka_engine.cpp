// The Kafka log under the conformance suite, on a real broker that all tests share.
#include <cstdlib>
#include <thread>

#include "events/kafka/kafka_log.h"
#include "tests/conformance/engine.h"
#include "tests/support/real_cluster.h"

namespace soma::events::conformance {

namespace {

class KafkaEngine final : public Engine {
 public:
  explicit KafkaEngine(std::uint32_t partitions) {
    static support::RealCluster cluster(1);  // seconds to start
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
    if (!log) {
      std::fprintf(stderr, "%s\n", log.error().message.c_str());
      std::abort();
    }
    log_ = std::move(*log);
  }

 private:
  KafkaOptions options_;
  std::unique_ptr<KafkaLog> log_;
};

}  // namespace

std::unique_ptr<Engine> make_engine(std::uint32_t partitions) {
  return std::make_unique<KafkaEngine>(partitions);
}

}  // namespace soma::events::conformance
