// The log on a Kafka cluster: one record a frame, acks=all, no transactions.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "events/log.h"

namespace soma::events {

struct KafkaOptions {
  std::string brokers;                // HOST:PORT,…
  std::string topic_prefix;           // before every topic's name
  std::string client_id = "soma";     // shown in the brokers' logs and quotas
  std::uint32_t partition_count = 8;  // of a new journal; an existing one must have as many
  int min_replication = 1;            // 3 in production: a journal with fewer replicas is refused
  // False: the topics are taken as they are (brokers that let this user neither make nor describe
  // topics). Whoever says so has checked their settings himself.
  bool manage_topics = true;
  std::string compression = "lz4";          // none, lz4, zstd
  std::size_t producers = 4;                // 1 to 16; partitions are dealt to them
  std::int64_t append_timeout_ms = 10'000;  // then the outcome is unknown
  std::int64_t read_timeout_ms = 10'000;    // of reads and of opening; then kUnavailable
  std::size_t queue_bytes = 256 << 20;      // appends beyond are refused: kOverloaded
  std::size_t cache_bytes = 256 << 20;      // of records lately read, which a recovery folds again
  std::map<std::string, std::string> client;  // further properties of librdkafka: TLS, SASL, …
  std::function<void(int severity, const std::string& line)> on_log;  // syslog's severities
};

// What happened since the log was opened, and what librdkafka said last.
struct KafkaFigures {
  std::uint64_t appends = 0, durable = 0, without_offset = 0, unknown = 0, refused = 0;
  std::uint64_t rebuilt = 0;  // producers replaced after a fatal or failed report
  std::uint64_t reads = 0, cache_hits = 0, tailed = 0;
  std::uint64_t brokers_up = 0, rtt_avg_us = 0, queued_records = 0, sent_bytes = 0;
};

// Opens no file and keeps no thread of the caller. Log's promises hold, with these costs: a read
// that the cache does not hold asks the partition's leader; end() is what this process has seen.
class KafkaLog : public Log {
 public:
  virtual KafkaFigures figures() const = 0;
  virtual const std::string& topic() const = 0;
  virtual const std::string& identity() const = 0;  // "kafka CLUSTER TOPIC": the same from any node
  // For tests: the producer of this partition suffers a fatal error.
  virtual void inject_fatal(PartitionId partition) = 0;
};

inline constexpr std::size_t kKafkaRecordBytes = 1'000'000;  // larger appends: kTooLarge

// kInvalidArgument: a setting, with the fix; kUnavailable: no broker answers, or a topic is missing
// and may not be made; kConflict: a topic that would lose events, with the command that mends it.
Result<std::unique_ptr<KafkaLog>> open_kafka_log(KafkaOptions options);

// For tools: makes no topic, appends are refused.
Result<std::unique_ptr<KafkaLog>> open_kafka_log_readonly(KafkaOptions options);

}  // namespace soma::events
