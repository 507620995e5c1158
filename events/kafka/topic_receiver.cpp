// Reading topics as a member of a group.
#include <cstring>

#include "events/kafka/topic_clients.h"
#include "events/kafka/topic_list.h"

namespace soma::events {

namespace kafka {

namespace {
constexpr int kCommitWaitMs = 3000;
}  // namespace

rd_kafka_resp_err_t commit(rd_kafka_t* rk, const TopicList& list) {
  const QueueHandle queue(rd_kafka_queue_new(rk));
  if (const auto code = rd_kafka_commit_queue(rk, list.get(), queue.get(), nullptr, nullptr))
    return code;
  const std::unique_ptr<rd_kafka_event_t, void (*)(rd_kafka_event_t*)> answer(
      rd_kafka_queue_poll(queue.get(), kCommitWaitMs), rd_kafka_event_destroy);
  if (!answer) return RD_KAFKA_RESP_ERR__TIMED_OUT;
  return rd_kafka_event_error(answer.get());
}

TopicRecord record_of(const rd_kafka_message_t& m) {
  TopicRecord out;
  out.topic = rd_kafka_topic_name(m.rkt);
  out.partition = PartitionId{static_cast<std::uint32_t>(m.partition)};
  out.offset = Offset{static_cast<std::uint64_t>(m.offset)};
  if (m.key) out.key.assign(static_cast<const char*>(m.key), m.key_len);
  if (m.payload) out.value.assign(static_cast<const char*>(m.payload), m.len);
  rd_kafka_headers_t* headers = nullptr;
  if (rd_kafka_message_headers(&m, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) return out;
  const char* name = nullptr;
  const void* value = nullptr;
  std::size_t size = 0;
  for (std::size_t i = 0; !rd_kafka_header_get_all(headers, i, &name, &value, &size); ++i)
    out.headers.emplace_back(name, value ? std::string(static_cast<const char*>(value), size) : "");
  return out;
}

}  // namespace kafka

namespace {

class Receiver final : public TopicReceiver {
 public:
  Receiver(KafkaOptions kafka, ReceiverOptions options)
      : kafka_(std::move(kafka)), options_(std::move(options)) {}
  ~Receiver() override {
    if (client_) rd_kafka_consumer_close(client_.get());
  }

  Status open() {
    events_.on_rebalance = [this](rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t* list) {
      rebalance(code, list);
    };
    const kafka::Properties properties = {{"group.id", options_.group},
                                          {"partition.assignment.strategy", "cooperative-sticky"},
                                          {"enable.auto.commit", "false"},
                                          {"auto.offset.reset", "earliest"},
                                          {"isolation.level", "read_committed"},
                                          {"session.timeout.ms", "10000"},
                                          {"fetch.wait.max.ms", "50"},
                                          {"queued.max.messages.kbytes", "8192"}};
    auto client = kafka::make_client(RD_KAFKA_CONSUMER, kafka_, properties, events_);
    if (!client) return tl::unexpected(client.error());
    client_ = std::move(*client);
    rd_kafka_poll_set_consumer(client_.get());
    const auto list = kafka::make_list();
    for (const auto& topic : options_.topics)
      rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), RD_KAFKA_PARTITION_UA);
    const auto code = rd_kafka_subscribe(client_.get(), list.get());
    if (code) return tl::unexpected(kafka::to_error(code, "cannot join " + options_.group));
    return {};
  }

  std::optional<TopicRecord> poll(int wait_ms) override {
    const std::unique_ptr<rd_kafka_message_t, void (*)(rd_kafka_message_t*)> m(
        rd_kafka_consumer_poll(client_.get(), wait_ms), rd_kafka_message_destroy);
    if (!m || m->err) return {};  // librdkafka goes on by itself
    return kafka::record_of(*m);
  }

  Status commit(const std::vector<TopicPlace>& places) override {
    if (places.empty()) return {};
    const auto list = kafka::make_list();
    for (const auto& place : places)
      kafka::add(list, place.topic, place.partition).offset =
          static_cast<std::int64_t>(place.next.value);
    const auto code = kafka::commit(client_.get(), list);
    switch (code) {
      case RD_KAFKA_RESP_ERR_NO_ERROR:
      case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION:
      case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID:
      case RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS:
        return {};
      default:
        return tl::unexpected(kafka::to_error(code, "offsets of " + options_.group));
    }
  }

  void pause(const std::string& topic, PartitionId partition, bool paused) override {
    const auto list = kafka::make_list();
    kafka::add(list, topic, partition);
    if (paused)
      rd_kafka_pause_partitions(client_.get(), list.get());
    else
      rd_kafka_resume_partitions(client_.get(), list.get());
  }

 private:
  void rebalance(rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t* list) {
    const bool given = code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    for (int i = 0; !given && i < list->cnt; ++i)
      options_.on_revoked(list->elems[i].topic,
                          PartitionId{static_cast<std::uint32_t>(list->elems[i].partition)});
    rd_kafka_error_t* error = given ? rd_kafka_incremental_assign(client_.get(), list)
                                    : rd_kafka_incremental_unassign(client_.get(), list);
    if (error) rd_kafka_error_destroy(error);
  }

  const KafkaOptions kafka_;
  const ReceiverOptions options_;
  kafka::ClientEvents events_;
  kafka::Client client_;
};

class Cursors final : public TopicCursors {
 public:
  Cursors(KafkaOptions options, std::string group)
      : options_(std::move(options)), group_(std::move(group)) {}

  Status open() {
    auto client =
        kafka::make_client(RD_KAFKA_CONSUMER, options_,
                           {{"group.id", group_}, {"enable.auto.commit", "false"}}, events_);
    if (!client) return tl::unexpected(client.error());
    client_ = std::move(*client);
    return {};
  }

  Result<std::optional<Cursor>> load(const std::string& topic, PartitionId partition) override {
    const auto list = kafka::make_list();
    auto& row = kafka::add(list, topic, partition);
    auto code =
        rd_kafka_committed(client_.get(), list.get(), static_cast<int>(options_.read_timeout_ms));
    if (!code) code = row.err;
    if (code) return tl::unexpected(kafka::to_error(code, "the cursors of " + group_));
    if (row.offset < 0) return std::optional<Cursor>();
    return std::optional<Cursor>(
        Cursor{Offset{static_cast<std::uint64_t>(row.offset)},
               {static_cast<const char*>(row.metadata ? row.metadata : ""), row.metadata_size}});
  }

  Status store(const std::string& topic, PartitionId partition, const Cursor& cursor) override {
    const auto list = kafka::make_list();
    auto& row = kafka::add(list, topic, partition);
    row.offset = static_cast<std::int64_t>(cursor.next.value);
    row.metadata = ::strdup(cursor.note.c_str());  // the list's to free
    row.metadata_size = cursor.note.size();
    const auto code = kafka::commit(client_.get(), list);
    if (code) return tl::unexpected(kafka::to_error(code, "the cursors of " + group_));
    return {};
  }

 private:
  const KafkaOptions options_;
  const std::string group_;
  kafka::ClientEvents events_;
  kafka::Client client_;
};

}  // namespace

Result<std::unique_ptr<TopicReceiver>> open_topic_receiver(KafkaOptions kafka,
                                                           ReceiverOptions options) {
  auto receiver = std::make_unique<Receiver>(std::move(kafka), std::move(options));
  if (auto ok = receiver->open(); !ok) return tl::unexpected(ok.error());
  return std::unique_ptr<TopicReceiver>(std::move(receiver));
}

Result<std::unique_ptr<TopicCursors>> open_topic_cursors(KafkaOptions options, std::string group) {
  auto cursors = std::make_unique<Cursors>(std::move(options), std::move(group));
  if (auto ok = cursors->open(); !ok) return tl::unexpected(ok.error());
  return std::unique_ptr<TopicCursors>(std::move(cursors));
}

}  // namespace soma::events
