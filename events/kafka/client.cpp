// Properties of librdkafka, each with its reason.
#include "events/kafka/client.h"

#include <algorithm>
#include <array>

namespace soma::events::kafka {

namespace {

// What the contiguous-offset rule stands on; overriding one would make an acknowledgement a guess.
constexpr std::array kOwned = {"acks",
                               "request.required.acks",
                               "enable.idempotence",
                               "max.in.flight",
                               "max.in.flight.requests.per.connection",
                               "transactional.id",
                               "isolation.level",
                               "linger.ms",
                               "queue.buffering.max.ms",
                               "message.timeout.ms",
                               "delivery.timeout.ms",
                               "enable.partition.eof",
                               "auto.offset.reset",
                               "message.max.bytes",
                               "bootstrap.servers",
                               "metadata.broker.list",
                               "client.id",
                               "compression.codec",
                               "compression.type",
                               "group.id",
                               "group.instance.id",
                               "partitioner"};

Properties common_properties(const KafkaOptions& o) {
  return {{"bootstrap.servers", o.brokers},
          {"client.id", o.client_id},
          {"socket.keepalive.enable", "true"},
          {"socket.nagle.disable", "true"},
          // A leader that went away must be found again in milliseconds.
          {"reconnect.backoff.ms", "20"},
          {"reconnect.backoff.max.ms", "500"},
          {"topic.metadata.refresh.fast.interval.ms", "50"},
          {"topic.metadata.refresh.interval.ms", "30000"},
          {"allow.auto.create.topics", "false"},
          {"message.max.bytes", std::to_string(kKafkaRecordBytes + 512)}};
}

ClientEvents& events_of(void* opaque) { return *static_cast<ClientEvents*>(opaque); }

void on_log(const rd_kafka_t* rk, int severity, const char*, const char* text) {
  auto& events = events_of(rd_kafka_opaque(rk));
  if (events.on_log) events.on_log(severity, text);
}
int on_statistics(rd_kafka_t*, char* json, std::size_t bytes, void* opaque) {
  events_of(opaque).on_statistics({json, bytes});
  return 0;  // librdkafka frees it
}
void on_error(rd_kafka_t* rk, int code, const char* reason, void* opaque) {
  auto error = static_cast<rd_kafka_resp_err_t>(code);
  std::array<char, 512> text{};
  if (error == RD_KAFKA_RESP_ERR__FATAL) {
    rd_kafka_fatal_error(rk, text.data(), text.size());
    reason = text.data();
  }
  events_of(opaque).on_error(error, reason ? reason : "");
}
void on_report(rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
  events_of(opaque).on_report(*message);
}

void on_rebalance(rd_kafka_t*, rd_kafka_resp_err_t code,
                  rd_kafka_topic_partition_list_t* partitions, void* opaque) {
  events_of(opaque).on_rebalance(code, partitions);
}

struct ConfDeleter {
  void operator()(rd_kafka_conf_t* c) const { rd_kafka_conf_destroy(c); }
};
using Conf = std::unique_ptr<rd_kafka_conf_t, ConfDeleter>;

Status set(rd_kafka_conf_t* conf, const std::string& name, const std::string& value) {
  std::array<char, 512> reason{};
  if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), reason.data(), reason.size()) !=
      RD_KAFKA_CONF_OK)
    return fail(Code::kInvalidArgument, "kafka: " + std::string(reason.data()), "kafka." + name);
  return {};
}

}  // namespace

Properties producer_properties(const KafkaOptions& o) {
  return {{"acks", "all"},
          {"enable.idempotence", "true"},
          // With more, a broker's restart made librdkafka 2.0.2 fatal ("rewound sequence number").
          {"max.in.flight.requests.per.connection", "1"},
          {"linger.ms", "0"},
          {"retry.backoff.ms", "20"},
          {"message.timeout.ms", std::to_string(o.append_timeout_ms)},
          {"request.timeout.ms", std::to_string(std::min<std::int64_t>(o.append_timeout_ms, 5000))},
          {"compression.codec", o.compression},
          {"queue.buffering.max.messages", "1000000"},
          {"queue.buffering.max.kbytes",
           std::to_string(std::max<std::size_t>(
               o.queue_bytes / std::max<std::size_t>(o.producers, 1) / 1024, 1024))},
          {"statistics.interval.ms", "1000"}};
}

Properties tail_properties() {
  return {{"isolation.level", "read_uncommitted"},
          {"auto.offset.reset", "latest"},
          {"fetch.wait.max.ms", "500"},
          {"fetch.error.backoff.ms", "50"},
          {"queued.max.messages.kbytes", "4096"}};
}

// An open transaction of a stranger must not stall a judgement: read_uncommitted. EOF tells of
// control records at the end, which no consumer is shown.
Properties reader_properties(const KafkaOptions& o) {
  return {{"isolation.level", "read_uncommitted"},
          {"auto.offset.reset", "error"},
          {"enable.partition.eof", "true"},
          {"socket.timeout.ms", std::to_string(std::max<std::int64_t>(o.read_timeout_ms, 100))},
          {"fetch.wait.max.ms", "20"},
          {"fetch.error.backoff.ms", "20"},
          {"queued.max.messages.kbytes", "16384"}};
}

Result<Client> make_client(rd_kafka_type_t type, const KafkaOptions& options,
                           const Properties& properties, ClientEvents& events) {
  Conf conf(rd_kafka_conf_new());
  for (const auto& [name, value] : common_properties(options))
    if (auto ok = set(conf.get(), name, value); !ok) return tl::unexpected(ok.error());
  for (const auto& [name, value] : options.client)
    if (auto ok = set(conf.get(), name, value); !ok) return tl::unexpected(ok.error());
  for (const auto& [name, value] : properties)
    if (auto ok = set(conf.get(), name, value); !ok) return tl::unexpected(ok.error());
  if (!events.on_log) events.on_log = options.on_log;
  rd_kafka_conf_set_opaque(conf.get(), &events);
  rd_kafka_conf_set_log_cb(conf.get(), on_log);
  if (events.on_statistics) rd_kafka_conf_set_stats_cb(conf.get(), on_statistics);
  if (events.on_error) rd_kafka_conf_set_error_cb(conf.get(), on_error);
  if (events.on_report) rd_kafka_conf_set_dr_msg_cb(conf.get(), on_report);
  if (events.on_rebalance) rd_kafka_conf_set_rebalance_cb(conf.get(), on_rebalance);
  std::array<char, 512> reason{};
  Client client(rd_kafka_new(type, conf.get(), reason.data(), reason.size()));
  if (!client)
    return fail(Code::kInvalidArgument, "kafka: " + std::string(reason.data()), "kafka.brokers");
  (void)conf.release();  // the client's now
  return client;
}

Status check_options(const KafkaOptions& o) {
  const auto bad = [](const std::string& field, const std::string& fix) {
    return fail(Code::kInvalidArgument, field + ": " + fix, field);
  };
  if (o.brokers.empty()) return bad("kafka.brokers", "name at least one HOST:PORT");
  if (o.partition_count < 1 || o.partition_count > 4096)
    return bad("partition_count", "must be 1 to 4096");
  if (o.producers < 1 || o.producers > 16) return bad("kafka.producers", "must be 1 to 16");
  if (o.append_timeout_ms < 100 || o.append_timeout_ms > 300'000)
    return bad("kafka.append_timeout_ms", "must be 100 to 300000");
  if (o.compression != "none" && o.compression != "lz4" && o.compression != "zstd")
    return bad("kafka.compression", "takes none, lz4 or zstd");
  for (const auto& [name, value] : o.client)
    if (std::find(kOwned.begin(), kOwned.end(), name) != kOwned.end())
      return bad("kafka." + name, "is set by SomaStack itself; remove it");
  return {};
}

Status member_health(rd_kafka_t* rk, const std::string& group, const std::string& member) {
  std::array<char, 512> reason{};
  const auto code = rd_kafka_fatal_error(rk, reason.data(), reason.size());
  if (!code) return {};
  if (code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID)
    return fail(Code::kLocked,
                "another process has joined the group " + group + " as \"" + member +
                    "\": give each node a node_id of its own, then start this one again",
                "node_id");
  return fail(Code::kUnavailable, group + ": " + reason.data());
}

void Complaints::hear(const rd_kafka_message_t& m, const OnLog& log) {
  const std::string topic = m.rkt ? rd_kafka_topic_name(m.rkt) : "";
  if (!heard_.emplace(m.err, topic).second || !log) return;
  log(kWarning, (topic.empty() ? "" : "topic " + topic + ": ") + rd_kafka_message_errstr(&m));
}

Error to_error(rd_kafka_resp_err_t code, const std::string& what) {
  return {Code::kUnavailable, what + ": " + rd_kafka_err2str(code), {}};
}

std::string journal_topic(const KafkaOptions& o) { return o.topic_prefix + "soma.events"; }

}  // namespace soma::events::kafka
