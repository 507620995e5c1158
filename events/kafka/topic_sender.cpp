// Writing to topics beside the journal.
#include <array>
#include <chrono>
#include <deque>

#include "events/kafka/signal.h"
#include "events/kafka/topic_clients.h"
#include "schemas/base/ids.h"

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

// Several clients, because one has one request at a time, and that of one partition. Records of a
// key go by the same one; where a topic has a multiple of kClients partitions, so do those of a
// partition.
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
    auto& batch = *batches_.emplace_back(std::make_unique<Batch>());
    batch.told = std::move(told);
    batch.until = Clock::now() + std::chrono::milliseconds(options_.append_timeout_ms) + kGrace;
    if (auto ok = failed_ ? tl::unexpected(*failed_) : hand_over(records, batch); !ok)
      give_up(ok.error());
  }

  void poll(int wait_ms) override {
    const auto until = Clock::now() + std::chrono::milliseconds(wait_ms);
    take_reports();
    if (wait_ms > 0 && !failed_ && !batches_.empty() && batches_.front()->open > 0) {
      signal_.wait_until(until);
      take_reports();
    }
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

  void wake_with(std::function<void()> wake) override { signal_.also(std::move(wake)); }

  // The client of a key; each is made when it is first needed.
  Result<rd_kafka_t*> client_of(const std::string& key) {
    auto& client = clients_[murmur2(key) % kClients];
    if (client) return client.get();
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
    auto made = kafka::make_client(RD_KAFKA_PRODUCER, options_, properties, events_);
    if (!made) return tl::unexpected(made.error());
    client = std::move(*made);
    signal_.watch(kafka::QueueHandle(rd_kafka_queue_get_main(client.get())));
    return client.get();
  }

 private:
  static constexpr std::size_t kClients = 4;

  void take_reports() {
    for (const auto& client : clients_)
      if (client) rd_kafka_poll(client.get(), 0);
  }

  // What may still be in flight would report to a batch that is gone, and overtake what is sent
  // again: the clients go with it.
  void give_up(Error error) {
    const auto batches = std::exchange(batches_, {});
    for (auto& client : clients_) client.reset();
    failed_.reset();
    for (const auto& batch : batches) batch->told(tl::unexpected(error));
  }

  Status hand_over(const std::vector<TopicRecord>& records, Batch& batch) {
    for (const auto& record : records) {
      const auto client = client_of(record.key);
      if (!client) return tl::unexpected(client.error());
      auto code = produce(*client, record, batch);
      while (code == RD_KAFKA_RESP_ERR__QUEUE_FULL && Clock::now() < batch.until) {
        rd_kafka_poll(*client, kPollMs);
        code = produce(*client, record, batch);
      }
      if (code) return tl::unexpected(kafka::to_error(code, "topic " + record.topic));
      ++batch.open;
    }
    return {};
  }

  static rd_kafka_resp_err_t produce(rd_kafka_t* client, const TopicRecord& record, Batch& batch) {
    rd_kafka_headers_t* headers = rd_kafka_headers_new(record.headers.size());
    for (const auto& [name, value] : record.headers)
      rd_kafka_header_add(headers, name.data(), static_cast<ssize_t>(name.size()), value.data(),
                          static_cast<ssize_t>(value.size()));
    static char empty;  // a null payload would be a tombstone
    void* payload = record.value.empty() ? &empty : const_cast<char*>(record.value.data());
    const auto code = rd_kafka_producev(
        client, RD_KAFKA_V_TOPIC(record.topic.c_str()), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_KEY(record.key.empty() ? nullptr : record.key.data(), record.key.size()),
        RD_KAFKA_V_VALUE(payload, record.value.size()), RD_KAFKA_V_HEADERS(headers),
        RD_KAFKA_V_OPAQUE(&batch), RD_KAFKA_V_END);
    if (code) rd_kafka_headers_destroy(headers);
    return code;
  }

  const KafkaOptions options_;
  kafka::Signal signal_;
  kafka::ClientEvents events_;
  std::deque<std::unique_ptr<Batch>> batches_;  // in flight, oldest first
  std::optional<Error> failed_;                 // a report since the clients were opened
  std::array<kafka::Client, kClients> clients_;
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
  if (auto ok = sender->client_of(""); !ok) return tl::unexpected(ok.error());  // it may be refused
  return std::unique_ptr<TopicSender>(std::move(sender));
}

}  // namespace soma::events
