// Making and checking topics through the admin API.
#include "events/kafka/topics.h"

#include <algorithm>
#include <array>
#include <map>

#include "events/kafka/keyed_topic.h"

namespace soma::events::kafka {

Result<Described> describe(rd_kafka_t* rk, const std::string& topic, std::int64_t timeout_ms) {
  TopicHandle handle(rd_kafka_topic_new(rk, topic.c_str(), nullptr));
  const struct rd_kafka_metadata* found = nullptr;
  const auto code = rd_kafka_metadata(rk, 0, handle.get(), &found, static_cast<int>(timeout_ms));
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
    return tl::unexpected(to_error(code, "no Kafka broker answers"));
  const std::unique_ptr<const struct rd_kafka_metadata, void (*)(const struct rd_kafka_metadata*)>
      metadata(found, rd_kafka_metadata_destroy);
  Described out;
  out.brokers = metadata->broker_cnt;
  for (int i = 0; i < metadata->topic_cnt; ++i) {
    const auto& t = metadata->topics[i];
    if (t.err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) continue;
    if (t.err != RD_KAFKA_RESP_ERR_NO_ERROR && t.err != RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE)
      return tl::unexpected(to_error(t.err, "topic " + topic));
    out.exists = t.partition_cnt > 0;
    out.partitions = static_cast<std::uint32_t>(t.partition_cnt);
    for (int p = 0; p < t.partition_cnt; ++p)
      out.replication = p == 0 ? t.partitions[p].replica_cnt
                               : std::min(out.replication, t.partitions[p].replica_cnt);
  }
  return out;
}

namespace {

struct OptionsDeleter {
  void operator()(rd_kafka_AdminOptions_t* o) const { rd_kafka_AdminOptions_destroy(o); }
};
struct EventDeleter {
  void operator()(rd_kafka_event_t* e) const { rd_kafka_event_destroy(e); }
};
using AdminOptions = std::unique_ptr<rd_kafka_AdminOptions_t, OptionsDeleter>;
using Event = std::unique_ptr<rd_kafka_event_t, EventDeleter>;

constexpr int kReplicationWished = 3;
constexpr int kLooks = 100;  // for what was made a moment ago
constexpr int kLookAgainMs = 50;

int min_in_sync(int replication) { return replication >= kReplicationWished ? 2 : 1; }

// What a journal must be; the first is the wish, the check below knows what else is good.
std::map<std::string, std::string> journal_settings(int replication) {
  return {{"cleanup.policy", "delete"},
          {"retention.ms", "-1"},
          {"retention.bytes", "-1"},
          {"min.insync.replicas", std::to_string(min_in_sync(replication))},
          {"unclean.leader.election.enable", "false"},
          {"max.message.bytes", "1048588"}};
}

// What is overwritten must leave the brokers' disks soon, whatever clocks the nodes have.
std::map<std::string, std::string> keyed_settings(int replication) {
  return {{"cleanup.policy", "compact"},
          {"segment.ms", std::to_string(kRollMs)},
          {"max.compaction.lag.ms", std::to_string(kCompactionLagMs)},
          {"file.delete.delay.ms", std::to_string(kFileDeleteDelayMs)},
          {"message.timestamp.type", "LogAppendTime"},
          {"min.insync.replicas", std::to_string(min_in_sync(replication))},
          {"unclean.leader.election.enable", "false"},
          {"max.message.bytes", "1048588"}};
}

Event wait_for(rd_kafka_queue_t* queue, std::int64_t timeout_ms) {
  return Event(rd_kafka_queue_poll(queue, static_cast<int>(timeout_ms)));
}

AdminOptions admin_options(rd_kafka_t* rk, rd_kafka_admin_op_t operation, std::int64_t timeout_ms) {
  AdminOptions options(rd_kafka_AdminOptions_new(rk, operation));
  std::array<char, 256> reason{};
  rd_kafka_AdminOptions_set_request_timeout(options.get(), static_cast<int>(timeout_ms),
                                            reason.data(), reason.size());
  return options;
}

using Settings = std::map<std::string, std::string>;

Status make_topic(rd_kafka_t* rk, const std::string& topic, std::uint32_t partitions,
                  int replication, const Settings& settings, const KafkaOptions& o) {
  std::array<char, 256> reason{};
  const std::unique_ptr<rd_kafka_NewTopic_t, void (*)(rd_kafka_NewTopic_t*)> wanted(
      rd_kafka_NewTopic_new(topic.c_str(), static_cast<int>(partitions), replication, reason.data(),
                            reason.size()),
      rd_kafka_NewTopic_destroy);
  if (!wanted) return fail(Code::kInvalidArgument, "topic " + topic + ": " + reason.data());
  for (const auto& [name, value] : settings)
    rd_kafka_NewTopic_set_config(wanted.get(), name.c_str(), value.c_str());
  QueueHandle queue(rd_kafka_queue_new(rk));
  auto options = admin_options(rk, RD_KAFKA_ADMIN_OP_CREATETOPICS, o.read_timeout_ms);
  std::array topics = {wanted.get()};
  rd_kafka_CreateTopics(rk, topics.data(), topics.size(), options.get(), queue.get());
  const Event event = wait_for(queue.get(), o.read_timeout_ms + 1000);
  const auto* result = event ? rd_kafka_event_CreateTopics_result(event.get()) : nullptr;
  if (!result)
    return fail(Code::kUnavailable, "topic " + topic + " could not be made: no answer in time");
  std::size_t count = 0;
  const auto** results = rd_kafka_CreateTopics_result_topics(result, &count);
  if (const auto code = rd_kafka_event_error(event.get()); code != RD_KAFKA_RESP_ERR_NO_ERROR)
    return tl::unexpected(to_error(code, "topic " + topic + " could not be made"));
  for (std::size_t i = 0; i < count; ++i) {
    const auto code = rd_kafka_topic_result_error(results[i]);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
      continue;  // made by us, or by another node just now
    const char* said = rd_kafka_topic_result_error_string(results[i]);
    return fail(Code::kUnavailable,
                "topic " + topic + " could not be made: " + (said ? said : rd_kafka_err2str(code)));
  }
  return {};
}

Result<std::map<std::string, std::string>> settings_of(rd_kafka_t* rk, const std::string& topic,
                                                       std::int64_t timeout_ms) {
  const std::unique_ptr<rd_kafka_ConfigResource_t, void (*)(rd_kafka_ConfigResource_t*)> resource(
      rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic.c_str()),
      rd_kafka_ConfigResource_destroy);
  QueueHandle queue(rd_kafka_queue_new(rk));
  auto options = admin_options(rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, timeout_ms);
  std::array resources = {resource.get()};
  rd_kafka_DescribeConfigs(rk, resources.data(), resources.size(), options.get(), queue.get());
  const Event event = wait_for(queue.get(), timeout_ms + 1000);
  const auto* result = event ? rd_kafka_event_DescribeConfigs_result(event.get()) : nullptr;
  const std::string what = "the settings of topic " + topic + " cannot be read";
  if (!result) return fail(Code::kUnavailable, what + ": no answer in time");
  if (const auto code = rd_kafka_event_error(event.get()); code != RD_KAFKA_RESP_ERR_NO_ERROR)
    return tl::unexpected(to_error(code, what));
  std::map<std::string, std::string> out;
  std::size_t count = 0;
  const auto** described = rd_kafka_DescribeConfigs_result_resources(result, &count);
  for (std::size_t i = 0; i < count; ++i) {
    if (const auto code = rd_kafka_ConfigResource_error(described[i]); code != 0) {
      Error error = to_error(code, what);
      if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) error.code = Code::kNotFound;
      return tl::unexpected(std::move(error));
    }
    std::size_t entries = 0;
    const auto** configs = rd_kafka_ConfigResource_configs(described[i], &entries);
    for (std::size_t k = 0; k < entries; ++k)
      if (const char* value = rd_kafka_ConfigEntry_value(configs[k]))
        out[rd_kafka_ConfigEntry_name(configs[k])] = value;
  }
  return out;
}

std::int64_t number(const std::string& text) {
  try {
    return std::stoll(text);
  } catch (const std::exception&) {
    return -1;
  }
}

bool good(const std::string& name, const std::string& value, const std::string& wanted,
          int replication) {
  // More replicas in sync than all of them but one would stop the journal at the first failure, but
  // loses nothing.
  if (name == "min.insync.replicas")
    return number(value) >= number(wanted) && number(value) <= replication;
  if (name == "max.message.bytes") return number(value) >= number(wanted);
  if (name == "segment.ms" || name == "max.compaction.lag.ms" || name == "file.delete.delay.ms")
    return number(value) >= 0 && number(value) <= number(wanted);
  return value == wanted;
}

Status check_settings(rd_kafka_t* rk, const std::string& topic, const KafkaOptions& o,
                      const Settings& wanted_settings, int replication) {
  auto settings = settings_of(rk, topic, o.read_timeout_ms);
  // It is there: the broker that was asked hears of it in a moment.
  for (int i = 0; i < kLooks && !settings && settings.error().code == Code::kNotFound; ++i) {
    rd_kafka_poll(rk, kLookAgainMs);
    settings = settings_of(rk, topic, o.read_timeout_ms);
  }
  if (!settings) return fail(Code::kUnavailable, settings.error().message);
  std::string wrong, mend;
  for (const auto& [name, wanted] : wanted_settings) {
    const std::string& value = (*settings)[name];
    if (good(name, value, wanted, replication)) continue;
    (wrong += wrong.empty() ? "" : ", ") += name + "=" + value;
    (mend += mend.empty() ? "" : ",") += name + "=" + wanted;
  }
  if (wrong.empty()) return {};
  return fail(Code::kConflict, "topic " + topic + " would lose or keep records (" + wrong +
                                   "); mend it with: kafka-configs.sh --bootstrap-server " +
                                   o.brokers + " --alter --entity-type topics --entity-name " +
                                   topic + " --add-config " + mend);
}

Status check_replicas(const std::string& topic, const KafkaOptions& o, const Described& d) {
  if (d.replication < o.min_replication)
    return fail(Code::kConflict, "topic " + topic + " has " + std::to_string(d.replication) +
                                     " replicas where " + std::to_string(o.min_replication) +
                                     " are needed: add replicas with kafka-reassign-partitions.sh");
  return {};
}

Status check_journal(rd_kafka_t* rk, const std::string& topic, const KafkaOptions& o,
                     const Described& d) {
  if (auto ok = check_replicas(topic, o, d); !ok) return ok;
  return check_settings(rk, topic, o, journal_settings(d.replication), d.replication);
}

// Metadata follows creation in a moment.
Result<Described> until_described(rd_kafka_t* rk, const std::string& topic, const KafkaOptions& o) {
  auto found = describe(rk, topic, o.read_timeout_ms);
  for (int i = 0; i < kLooks && found && !found->exists; ++i) {
    rd_kafka_poll(rk, kLookAgainMs);
    found = describe(rk, topic, o.read_timeout_ms);
  }
  if (found && !found->exists)
    return fail(Code::kUnavailable, "topic " + topic + " does not appear");
  return found;
}

}  // namespace

Result<Journal> prepare_journal(const KafkaOptions& o, bool make) {
  ClientEvents events;
  auto client = make_client(RD_KAFKA_PRODUCER, o, {}, events);
  if (!client) return tl::unexpected(client.error());
  rd_kafka_t* rk = client->get();
  const std::string topic = journal_topic(o);
  auto found = describe(rk, topic, o.read_timeout_ms);
  if (!found) return tl::unexpected(found.error());
  if (!found->exists) {
    if (!make || !o.manage_topics)
      return fail(Code::kUnavailable, "topic " + topic + " does not exist");
    const int replication = std::min(found->brokers, kReplicationWished);
    if (auto made =
            make_topic(rk, topic, o.partition_count, replication, journal_settings(replication), o);
        !made)
      return tl::unexpected(made.error());
    found = until_described(rk, topic, o);
    if (!found) return tl::unexpected(found.error());
  }
  if (make && found->partitions != o.partition_count)
    return fail(Code::kConflict,
                "topic " + topic + " has " + std::to_string(found->partitions) +
                    " partitions, partition_count is " + std::to_string(o.partition_count) +
                    "; the number can never change, since it decides which partition an actor is "
                    "in: set partition_count to what the journal was made with",
                "partition_count");
  if (o.manage_topics)
    if (auto ok = check_journal(rk, topic, o, *found); !ok) return tl::unexpected(ok.error());
  const std::unique_ptr<char, void (*)(char*)> cluster(
      rd_kafka_clusterid(rk, static_cast<int>(o.read_timeout_ms)),
      [](char* id) { rd_kafka_mem_free(nullptr, id); });
  if (!cluster) return fail(Code::kUnavailable, "the Kafka cluster does not tell its id");
  return Journal{found->partitions, cluster.get()};
}

Status prepare_topic(rd_kafka_t* rk, const KafkaOptions& o, const TopicWish& wish) {
  auto found = describe(rk, wish.name, o.read_timeout_ms);
  if (!found) return tl::unexpected(found.error());
  Settings settings = {{"cleanup.policy", "delete"},
                       {"max.message.bytes", std::to_string(kTopicRecordBytes)}};
  if (found->exists) return check_settings(rk, wish.name, o, settings, found->replication);
  const int replication = std::min(found->brokers, kReplicationWished);
  settings["retention.ms"] = std::to_string(wish.retention_ms);
  settings["min.insync.replicas"] = std::to_string(min_in_sync(replication));
  return make_topic(rk, wish.name, wish.partitions, replication, settings, o);
}

Status prepare_keyed_topic(const KafkaOptions& o, const std::string& topic, bool make) {
  ClientEvents events;
  auto client = make_client(RD_KAFKA_PRODUCER, o, {}, events);
  if (!client) return tl::unexpected(client.error());
  rd_kafka_t* rk = client->get();
  auto found = describe(rk, topic, o.read_timeout_ms);
  if (!found) return tl::unexpected(found.error());
  if (!found->exists) {
    if (!make) return fail(Code::kNotFound, "topic " + topic + " does not exist");
    if (!o.manage_topics)
      return fail(Code::kUnavailable, "topic " + topic +
                                          " does not exist: make it with one "
                                          "partition, as docs/privacy.md says");
    const int replication = std::min(found->brokers, kReplicationWished);
    if (auto ok = make_topic(rk, topic, 1, replication, keyed_settings(replication), o); !ok)
      return ok;
    found = until_described(rk, topic, o);
    if (!found) return tl::unexpected(found.error());
  }
  if (found->partitions != 1)
    return fail(Code::kConflict, "topic " + topic + " has " + std::to_string(found->partitions) +
                                     " partitions; it must have one");
  if (!o.manage_topics || !make) return {};
  if (auto ok = check_replicas(topic, o, *found); !ok) return ok;
  return check_settings(rk, topic, o, keyed_settings(found->replication), found->replication);
}

}  // namespace soma::events::kafka

namespace soma::events {

Status prepare_topics(const KafkaOptions& o, const std::vector<TopicWish>& wishes) {
  if (!o.manage_topics) return {};
  kafka::ClientEvents events;
  auto client = kafka::make_client(RD_KAFKA_PRODUCER, o, {}, events);
  if (!client) return tl::unexpected(client.error());
  for (const auto& wish : wishes)
    if (auto ok = kafka::prepare_topic(client->get(), o, wish); !ok) return ok;
  return {};
}

}  // namespace soma::events
