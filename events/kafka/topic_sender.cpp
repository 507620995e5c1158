// Writing to topics beside the journal.
#include <chrono>

#include "events/kafka/client.h"
#include "events/kafka/topic_clients.h"

namespace soma::events {

namespace {

using Clock = std::chrono::steady_clock;
constexpr int kPollMs = 50;
constexpr std::int64_t kGraceMs = 2000;  // for the report of what timed out

struct Batch {
  std::size_t open = 0;
  rd_kafka_resp_err_t first_error = RD_KAFKA_RESP_ERR_NO_ERROR;
};

class Sender final : public TopicSender {
 public:
  explicit Sender(KafkaOptions options) : options_(std::move(options)) {
    events_.on_report = [](const rd_kafka_message_t& m) {
      auto& batch = *static_cast<Batch*>(m._private);
      --batch.open;
      if (m.err && !batch.first_error) batch.first_error = m.err;
    };
  }

  Status send(const std::vector<TopicRecord>& records) override {
    if (records.empty()) return {};
    if (!client_)
      if (auto ok = open(); !ok) return ok;
    Batch batch;
    Status sent = hand_over(records, batch);
    const auto deadline =
        Clock::now() + std::chrono::milliseconds(options_.append_timeout_ms + kGraceMs);
    while (batch.open > 0 && Clock::now() < deadline) rd_kafka_poll(client_.get(), kPollMs);
    if (sent && batch.open > 0)
      sent = fail(Code::kUnavailable, "topics of Kafka: no acknowledgement in time");
    if (sent && batch.first_error)
      sent = tl::unexpected(kafka::to_error(batch.first_error, "topic " + records.front().topic));
    // What may still be in flight would report to a batch that is gone, and overtake what is sent
    // again: the client goes with it.
    if (!sent) client_.reset();
    return sent;
  }

  Status open() {
    auto properties = kafka::producer_properties(options_);
    properties.emplace_back("message.max.bytes", std::to_string(kTopicRecordBytes));
    properties.emplace_back("partitioner", "murmur2_random");
    properties.emplace_back("statistics.interval.ms", "0");
    auto client = kafka::make_client(RD_KAFKA_PRODUCER, options_, properties, events_);
    if (!client) return tl::unexpected(client.error());
    client_ = std::move(*client);
    return {};
  }

 private:
  Status hand_over(const std::vector<TopicRecord>& records, Batch& batch) {
    for (const auto& record : records) {
      auto code = produce(record, batch);
      for (int i = 0; code == RD_KAFKA_RESP_ERR__QUEUE_FULL && i < 200; ++i) {
        rd_kafka_poll(client_.get(), kPollMs);
        code = produce(record, batch);
      }
      if (code) return tl::unexpected(kafka::to_error(code, "topic " + record.topic));
      ++batch.open;
    }
    return {};
  }

  rd_kafka_resp_err_t produce(const TopicRecord& record, Batch& batch) {
    rd_kafka_headers_t* headers = rd_kafka_headers_new(record.headers.size());
    for (const auto& [name, value] : record.headers)
      rd_kafka_header_add(headers, name.data(), static_cast<ssize_t>(name.size()), value.data(),
                          static_cast<ssize_t>(value.size()));
    static char empty;  // a null payload would be a tombstone
    void* payload = record.value.empty() ? &empty : const_cast<char*>(record.value.data());
    const auto code = rd_kafka_producev(
        client_.get(), RD_KAFKA_V_TOPIC(record.topic.c_str()),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_KEY(record.key.empty() ? nullptr : record.key.data(), record.key.size()),
        RD_KAFKA_V_VALUE(payload, record.value.size()), RD_KAFKA_V_HEADERS(headers),
        RD_KAFKA_V_OPAQUE(&batch), RD_KAFKA_V_END);
    if (code) rd_kafka_headers_destroy(headers);
    return code;
  }

  const KafkaOptions options_;
  kafka::ClientEvents events_;
  kafka::Client client_;
};

}  // namespace

Result<std::unique_ptr<TopicSender>> open_topic_sender(KafkaOptions options) {
  auto sender = std::make_unique<Sender>(std::move(options));
  if (auto ok = sender->open(); !ok) return tl::unexpected(ok.error());
  return std::unique_ptr<TopicSender>(std::move(sender));
}

}  // namespace soma::events
