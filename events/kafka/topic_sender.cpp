// Writing to topics beside the journal.
#include <chrono>
#include <deque>

#include "events/kafka/client.h"
#include "events/kafka/topic_clients.h"

namespace soma::events {

namespace {

using Clock = std::chrono::steady_clock;
constexpr int kPollMs = 50;
constexpr auto kGrace = std::chrono::seconds(2);

struct Batch {
  std::size_t open = 0;
  TopicSender::OnTold told;
  Clock::time_point until;
};

class Sender final : public TopicSender {
 public:
  explicit Sender(KafkaOptions options) : options_(std::move(options)) {
    events_.on_log = [log = options_.on_log](int severity, const std::string& line) {
      const bool of_gapless = line.find("is experimental") != line.npos;  // meant, and tested
      if (log && !of_gapless) log(severity, line);
    };
    events_.on_report = [this](const rd_kafka_message_t& m) {
      --static_cast<Batch*>(m._private)->open;
      if (m.err && !failed_)
        failed_ = kafka::to_error(m.err, std::string("topic ") + rd_kafka_topic_name(m.rkt));
    };
  }

  void send_soon(const std::vector<TopicRecord>& records, OnTold told) override {
    if (!client_)
      if (auto ok = open(); !ok) return told(ok);
    auto& batch = *batches_.emplace_back(std::make_unique<Batch>());
    batch.told = std::move(told);
    batch.until = Clock::now() + std::chrono::milliseconds(options_.append_timeout_ms) + kGrace;
    if (auto ok = failed_ ? tl::unexpected(*failed_) : hand_over(records, batch); !ok)
      give_up(ok.error());
  }

  void poll(int wait_ms) override {
    if (client_) rd_kafka_poll(client_.get(), wait_ms);
    while (!failed_ && !batches_.empty() && batches_.front()->open == 0) {
      const auto batch = std::move(batches_.front());
      batches_.pop_front();
      batch->told({});
    }
    if (failed_)
      give_up(*failed_);
    else if (!batches_.empty() && Clock::now() > batches_.front()->until)
      give_up({Code::kUnavailable, "topics of Kafka: no acknowledgement in time", {}});
  }

  void wake_with(std::function<void()> wake) override {
    wake_ = std::move(wake);
    if (client_) listen();
  }

  Status open() {
    auto properties = kafka::producer_properties(options_);
    properties.emplace_back("message.max.bytes", std::to_string(kTopicRecordBytes));
    properties.emplace_back("partitioner", "murmur2_random");
    properties.emplace_back("statistics.interval.ms", "0");
    // Nobody is answered by what stands here: fewer requests are worth more than two milliseconds.
    properties.emplace_back("linger.ms", "2");
    // A record that fails must not be overtaken by the next of its key: librdkafka itself lets none
    // time out, and after any other failure takes no more.
    properties.emplace_back("message.timeout.ms", "0");
    properties.emplace_back("enable.gapless.guarantee", "true");
    auto client = kafka::make_client(RD_KAFKA_PRODUCER, options_, properties, events_);
    if (!client) return tl::unexpected(client.error());
    client_ = std::move(*client);
    if (wake_) listen();
    return {};
  }

 private:
  void listen() {
    const kafka::QueueHandle reports(rd_kafka_queue_get_main(client_.get()));
    rd_kafka_queue_cb_event_enable(
        reports.get(), [](rd_kafka_t*, void* self) { static_cast<Sender*>(self)->wake_(); }, this);
  }

  // What may still be in flight would report to a batch that is gone, and overtake what is sent
  // again: the client goes with it.
  void give_up(Error error) {
    const auto batches = std::exchange(batches_, {});
    client_.reset();
    failed_.reset();
    for (const auto& batch : batches) batch->told(tl::unexpected(error));
  }

  Status hand_over(const std::vector<TopicRecord>& records, Batch& batch) {
    for (const auto& record : records) {
      auto code = produce(record, batch);
      while (code == RD_KAFKA_RESP_ERR__QUEUE_FULL && Clock::now() < batch.until) {
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
  std::function<void()> wake_;
  kafka::ClientEvents events_;
  std::deque<std::unique_ptr<Batch>> batches_;  // in flight, oldest first
  std::optional<Error> failed_;                 // a report since the client was opened
  kafka::Client client_;
};

}  // namespace

Status TopicSender::send(const std::vector<TopicRecord>& records) {
  if (records.empty()) return {};
  std::optional<Status> end;
  send_soon(records, [&](Status told) { end = std::move(told); });
  while (!end) poll(kPollMs);
  return *end;
}

Result<std::unique_ptr<TopicSender>> open_topic_sender(KafkaOptions options) {
  auto sender = std::make_unique<Sender>(std::move(options));
  if (auto ok = sender->open(); !ok) return tl::unexpected(ok.error());
  return std::unique_ptr<TopicSender>(std::move(sender));
}

}  // namespace soma::events
