// librdkafka's handles with one owner each, and how every client of this room is configured.
#pragma once

#include <librdkafka/rdkafka.h>

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "events/kafka/kafka_log.h"

namespace soma::events::kafka {

constexpr int kWarning = 4;  // of on_log's severities

using Properties = std::vector<std::pair<std::string, std::string>>;

struct TopicDeleter {
  void operator()(rd_kafka_topic_t* t) const { rd_kafka_topic_destroy(t); }
};
using TopicHandle = std::unique_ptr<rd_kafka_topic_t, TopicDeleter>;
struct QueueDeleter {
  void operator()(rd_kafka_queue_t* q) const { rd_kafka_queue_destroy(q); }
};
using QueueHandle = std::unique_ptr<rd_kafka_queue_t, QueueDeleter>;
struct ClientDeleter {
  void operator()(rd_kafka_t* rk) const { rd_kafka_destroy(rk); }
};
using Client = std::unique_ptr<rd_kafka_t, ClientDeleter>;

// What a client tells its owner, who outlives it. on_log comes from librdkafka's threads, the
// others from whoever polls. Empty ones are not asked for.
struct ClientEvents {
  std::function<void(int severity, const std::string& line)> on_log;
  std::function<void(std::string_view json)> on_statistics;
  std::function<void(rd_kafka_resp_err_t code, const std::string& reason)> on_error;
  std::function<void(const rd_kafka_message_t& message)> on_report;
  std::function<void(rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t* partitions)>
      on_rebalance;
};

// Common properties, the user's own, then `properties`, which nobody may override.
Result<Client> make_client(rd_kafka_type_t type, const KafkaOptions& options,
                           const Properties& properties, ClientEvents& events);

Properties producer_properties(const KafkaOptions& options);
Properties tail_properties();
Properties reader_properties(const KafkaOptions& options);

// The user's properties that this room sets itself, and values out of range: kInvalidArgument.
Status check_options(const KafkaOptions& options);

// Of a static member: kLocked once another process has joined `group` under its name; kUnavailable
// after any other fatal error. Thread-safe.
Status member_health(rd_kafka_t* rk, const std::string& group, const std::string& member);

// What a consumer says is wrong: an unreadable topic, a group that may not be joined. Each once.
// Owned by one thread.
class Complaints {
 public:
  using OnLog = std::function<void(int severity, const std::string& line)>;
  void hear(const rd_kafka_message_t& message, const OnLog& log);  // whose err is set
  void forget() { heard_.clear(); }

 private:
  std::set<std::pair<rd_kafka_resp_err_t, std::string>> heard_;
};

Error to_error(rd_kafka_resp_err_t code, const std::string& what);  // kUnavailable
std::string journal_topic(const KafkaOptions& options);

}  // namespace soma::events::kafka
