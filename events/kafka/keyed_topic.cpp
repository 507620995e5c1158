// One producer, one consumer that is assigned the partition, and one more for each scan.
#include "events/kafka/keyed_topic.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "events/kafka/client.h"
#include "events/kafka/topic_list.h"
#include "events/kafka/topics.h"
#include "schemas/base/thread_name.h"

namespace soma::events {

namespace {

using Clock = std::chrono::steady_clock;
constexpr int kPollMs = 50;
constexpr auto kGrace = std::chrono::seconds(2);

using Message = std::unique_ptr<rd_kafka_message_t, void (*)(rd_kafka_message_t*)>;

Message poll(rd_kafka_t* rk) {
  return {rd_kafka_consumer_poll(rk, kPollMs), rd_kafka_message_destroy};
}

KeyedRecord record_of(const rd_kafka_message_t& m) {
  KeyedRecord out;
  out.offset = Offset{static_cast<std::uint64_t>(m.offset)};
  if (m.key) out.key.assign(static_cast<const char*>(m.key), m.key_len);
  if (m.payload) out.value = std::string(static_cast<const char*>(m.payload), m.len);
  return out;
}

struct Batch {
  std::size_t open = 0;
  rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;  // the first failure
  std::int64_t offset = -1;                               // the highest
  bool without_offset = false;
};

class Keyed final : public KeyedTopic {
 public:
  Keyed(KafkaOptions options, std::string topic, bool writing, Take take)
      : o_(std::move(options)),
        topic_(std::move(topic)),
        writing_(writing),
        take_(std::move(take)) {
    writes_.on_report = [](const rd_kafka_message_t& m) {
      const std::unique_ptr<std::shared_ptr<Batch>> kept(
          static_cast<std::shared_ptr<Batch>*>(m._private));
      Batch& batch = **kept;
      --batch.open;
      if (m.err && !batch.code) batch.code = m.err;
      batch.offset = std::max(batch.offset, m.offset);
      batch.without_offset |= m.offset < 0;
    };
  }

  ~Keyed() override {
    stopping_ = true;
    if (thread_.joinable()) thread_.join();
    std::lock_guard lock(writing_mutex_);
    drop_producer();
  }

  Status open() {
    auto reader = assigned(reads_);
    if (!reader) return tl::unexpected(reader.error());
    reader_ = std::move(*reader);
    thread_ = std::thread([this] {
      name_thread("soma-keys");
      run();
    });
    return {};
  }

  Status append(const std::vector<KeyedRecord>& records) override {
    if (!writing_) return fail(Code::kForbidden, "topic " + topic_ + " is open for reading only");
    for (const auto& r : records)
      if (r.key.empty() || r.key.size() + (r.value ? r.value->size() : 0) > kKeyedRecordBytes)
        return fail(Code::kTooLarge, "a record of topic " + topic_ + " has a key, and " +
                                         std::to_string(kKeyedRecordBytes) + " bytes at most");
    if (records.empty()) return {};
    const auto batch = std::make_shared<Batch>();
    {
      std::lock_guard lock(writing_mutex_);
      if (auto ok = send(records, batch); !ok) return ok;
    }
    // A success without an offset stands somewhere below the end.
    return batch->without_offset ? catch_up()
                                 : wait_for(static_cast<std::uint64_t>(batch->offset) + 1);
  }

  Status catch_up() override {
    std::int64_t first = 0, end = 0;
    const auto code = rd_kafka_query_watermark_offsets(reader_.get(), topic_.c_str(), 0, &first,
                                                       &end, static_cast<int>(o_.read_timeout_ms));
    if (code) return tl::unexpected(kafka::to_error(code, "topic " + topic_));
    return wait_for(static_cast<std::uint64_t>(end));
  }

  Status scan(const Take& take, const std::function<bool()>& stopping) override {
    kafka::ClientEvents events;
    auto reader = assigned(events);
    if (!reader) return tl::unexpected(reader.error());
    auto until = Clock::now() + std::chrono::milliseconds(o_.read_timeout_ms);
    while (Clock::now() < until && !stopping_) {
      if (stopping()) return fail(Code::kCancelled, "the node is stopping");
      const auto m = poll(reader->get());
      if (!m) continue;
      if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) return {};
      if (m->err) continue;
      take(record_of(*m));
      until = Clock::now() + std::chrono::milliseconds(o_.read_timeout_ms);
    }
    return late();
  }

 private:
  Result<kafka::Client> assigned(kafka::ClientEvents& events) const {
    auto client = kafka::make_client(RD_KAFKA_CONSUMER, o_,
                                     {{"group.id", topic_ + ".readers"},  // asked for, never joined
                                      {"enable.auto.commit", "false"},
                                      {"isolation.level", "read_uncommitted"},
                                      {"auto.offset.reset", "earliest"},
                                      {"fetch.error.backoff.ms", "50"},
                                      {"enable.partition.eof", "true"}},
                                     events);
    if (!client) return client;
    rd_kafka_poll_set_consumer(client->get());
    const auto list = kafka::make_list();
    kafka::add(list, topic_, PartitionId{0}).offset = RD_KAFKA_OFFSET_BEGINNING;
    if (const auto code = rd_kafka_assign(client->get(), list.get()))
      return tl::unexpected(kafka::to_error(code, "topic " + topic_));
    return client;
  }

  void run() {
    kafka::Complaints complaints;
    while (!stopping_) {
      const auto m = poll(reader_.get());
      if (!m) continue;
      std::uint64_t next = 0;
      if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        next = static_cast<std::uint64_t>(m->offset);
      } else if (m->err) {
        complaints.hear(*m, o_.on_log);
        continue;
      } else {
        take_(record_of(*m));
        next = static_cast<std::uint64_t>(m->offset) + 1;
      }
      {
        std::lock_guard lock(mutex_);
        next_ = std::max(next_, next);
      }
      moved_.notify_all();
    }
    moved_.notify_all();
  }

  Status wait_for(std::uint64_t next) {
    std::unique_lock lock(mutex_);
    moved_.wait_for(lock, std::chrono::milliseconds(o_.read_timeout_ms),
                    [&] { return next_ >= next || stopping_; });
    return next_ >= next ? Status{} : late();
  }

  Status late() const {
    return fail(Code::kUnavailable, "topic " + topic_ + " was not read to its end in time");
  }

  Status send(const std::vector<KeyedRecord>& records, const std::shared_ptr<Batch>& batch) {
    if (!producer_) {
      auto properties = kafka::producer_properties(o_);
      properties.emplace_back("statistics.interval.ms", "0");
      auto client = kafka::make_client(RD_KAFKA_PRODUCER, o_, properties, writes_);
      if (!client) return tl::unexpected(client.error());
      producer_ = std::move(*client);
    }
    const auto until = Clock::now() + std::chrono::milliseconds(o_.append_timeout_ms) + kGrace;
    for (const auto& record : records) {
      auto code = produce(record, batch);
      while (code == RD_KAFKA_RESP_ERR__QUEUE_FULL && Clock::now() < until) {
        rd_kafka_poll(producer_.get(), kPollMs);
        code = produce(record, batch);
      }
      if (code) return given_up(kafka::to_error(code, "topic " + topic_));
      ++batch->open;
    }
    while (batch->open > 0 && !batch->code && Clock::now() < until)
      rd_kafka_poll(producer_.get(), kPollMs);
    if (batch->open == 0 && !batch->code) return {};
    return given_up(batch->code ? kafka::to_error(batch->code, "topic " + topic_)
                                : Error{Code::kUnavailable, "topic " + topic_ + ": no answer", {}});
  }

  rd_kafka_resp_err_t produce(const KeyedRecord& r, const std::shared_ptr<Batch>& batch) {
    auto kept = std::make_unique<std::shared_ptr<Batch>>(batch);
    void* payload = r.value ? const_cast<char*>(r.value->data()) : nullptr;
    const std::size_t size = r.value ? r.value->size() : 0;
    const auto code = rd_kafka_producev(
        producer_.get(), RD_KAFKA_V_TOPIC(topic_.c_str()), RD_KAFKA_V_PARTITION(0),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(r.key.data(), r.key.size()),
        RD_KAFKA_V_VALUE(payload, size), RD_KAFKA_V_OPAQUE(kept.get()), RD_KAFKA_V_END);
    if (!code) (void)kept.release();  // the report's now
    return code;
  }

  Status given_up(Error error) {
    drop_producer();  // what it may still hold must not come after what is sent later
    return tl::unexpected(std::move(error));
  }

  void drop_producer() {
    if (!producer_) return;
    rd_kafka_purge(producer_.get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_poll(producer_.get(), kPollMs);
    producer_.reset();
  }

  const KafkaOptions o_;
  const std::string topic_;
  const bool writing_;
  const Take take_;
  kafka::ClientEvents reads_, writes_;
  kafka::Client reader_;
  std::mutex writing_mutex_;
  kafka::Client producer_;
  std::mutex mutex_;
  std::condition_variable moved_;
  std::uint64_t next_ = 0;  // first offset not taken
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<KeyedTopic>> open_keyed_topic(KafkaOptions options, const std::string& topic,
                                                     bool writing, KeyedTopic::Take take) {
  if (auto ok = kafka::check_options(options); !ok) return tl::unexpected(ok.error());
  if (auto ok = kafka::prepare_keyed_topic(options, topic, writing); !ok)
    return tl::unexpected(ok.error());
  auto out = std::make_unique<Keyed>(std::move(options), topic, writing, std::move(take));
  if (auto ok = out->open(); !ok) return tl::unexpected(ok.error());
  return std::unique_ptr<KeyedTopic>(std::move(out));
}

}  // namespace soma::events
