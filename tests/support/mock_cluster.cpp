// The mock cluster's C API behind one class.
#include "tests/support/mock_cluster.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <array>
#include <cstdlib>
#include <vector>

namespace soma::support {

namespace {
// ApiKeys
constexpr std::int16_t kProduce = 0;
constexpr std::int16_t kOffsetCommit = 8;
constexpr std::int16_t kJoinGroup = 11;
std::string topic_of(const events::KafkaOptions& o) { return o.topic_prefix + "soma.events"; }
}  // namespace

struct MockCluster::Impl {
  rd_kafka_t* client = nullptr;
  rd_kafka_mock_cluster_t* cluster = nullptr;
  int journals = 0;
};

MockCluster::MockCluster(int brokers) : impl_(std::make_unique<Impl>()) {
  std::array<char, 256> reason{};
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  rd_kafka_conf_set_log_cb(conf, nullptr);
  impl_->client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason.data(), reason.size());
  if (!impl_->client) std::abort();
  impl_->cluster = rd_kafka_mock_cluster_new(impl_->client, brokers);
  if (!impl_->cluster) std::abort();
}

MockCluster::~MockCluster() {
  rd_kafka_mock_cluster_destroy(impl_->cluster);
  rd_kafka_destroy(impl_->client);
}

std::string MockCluster::bootstrap() const {
  return rd_kafka_mock_cluster_bootstraps(impl_->cluster);
}

events::KafkaOptions MockCluster::options(std::uint32_t partitions) {
  events::KafkaOptions o;
  o.brokers = bootstrap();
  o.topic_prefix = "t" + std::to_string(++impl_->journals) + ".";
  o.partition_count = partitions;
  o.manage_topics = false;  // the mock knows no admin requests
  if (rd_kafka_mock_topic_create(impl_->cluster, topic_of(o).c_str(), static_cast<int>(partitions),
                                 3))
    std::abort();
  return o;
}

void MockCluster::make_topic(const std::string& name, std::uint32_t partitions) {
  if (rd_kafka_mock_topic_create(impl_->cluster, name.c_str(), static_cast<int>(partitions), 1))
    std::abort();
}

void MockCluster::set_leader(const events::KafkaOptions& journal, std::uint32_t partition,
                             int broker) {
  rd_kafka_mock_partition_set_leader(impl_->cluster, topic_of(journal).c_str(),
                                     static_cast<std::int32_t>(partition), broker);
}
void MockCluster::set_down(int broker) { rd_kafka_mock_broker_set_down(impl_->cluster, broker); }
void MockCluster::set_up(int broker) { rd_kafka_mock_broker_set_up(impl_->cluster, broker); }
void MockCluster::set_rtt(int broker, int milliseconds) {
  rd_kafka_mock_broker_set_rtt(impl_->cluster, broker, milliseconds);
}
void MockCluster::fail_produce(int code, int count) {
  const std::vector<rd_kafka_resp_err_t> errors(static_cast<std::size_t>(count),
                                                static_cast<rd_kafka_resp_err_t>(code));
  rd_kafka_mock_push_request_errors_array(impl_->cluster, kProduce, errors.size(), errors.data());
}
void MockCluster::fail_commit(int code) {
  rd_kafka_mock_push_request_errors(impl_->cluster, kOffsetCommit, 1, code);
}
void MockCluster::fail_join(int code) {
  rd_kafka_mock_push_request_errors(impl_->cluster, kJoinGroup, 1, code);
}

}  // namespace soma::support
