// Appends, reports, and replacing a client that can no longer be trusted.
#include "events/kafka/producer.h"

#include <chrono>

#include "events/kafka/statistics.h"

namespace soma::events::kafka {

namespace {

using Clock = std::chrono::steady_clock;
constexpr int kPollMs = 50;
constexpr int kWarmMs = 2000;
constexpr auto kPurgeWait = std::chrono::seconds(2);  // for librdkafka to report what it purged
constexpr auto kCloseWait = std::chrono::seconds(3);  // for what is in flight at the end
constexpr auto kRebuildPause = std::chrono::milliseconds(100);

// The clock of librdkafka's statistics.
std::int64_t now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now().time_since_epoch())
      .count();
}

}  // namespace

Producer::Producer(const KafkaOptions& options, Ends& ends)
    : options_(options), topic_name_(journal_topic(options)), ends_(ends), lines_(ends.count()) {
  events_.on_report = [this](const rd_kafka_message_t& m) { on_report(m); };
  events_.on_error = [this](rd_kafka_resp_err_t code, const std::string& reason) {
    on_error(code, reason);
  };
  events_.on_statistics = [this](std::string_view json) { on_statistics(json); };
}

Result<std::unique_ptr<Producer>> Producer::start(const KafkaOptions& options, Ends& ends) {
  std::unique_ptr<Producer> producer(new Producer(options, ends));
  if (auto ok = producer->open(); !ok) return tl::unexpected(ok.error());
  producer->thread_ = std::thread([p = producer.get()] { p->run(); });
  return producer;
}

Status Producer::open() {
  auto client = make_client(RD_KAFKA_PRODUCER, options_, producer_properties(options_), events_);
  if (!client) return tl::unexpected(client.error());
  TopicHandle topic(rd_kafka_topic_new(client->get(), topic_name_.c_str(), nullptr));
  if (!topic) return tl::unexpected(to_error(rd_kafka_last_error(), "topic " + topic_name_));
  // Leaders known beforehand: else the first append to a partition waits up to a second for them.
  const struct rd_kafka_metadata* metadata = nullptr;
  if (rd_kafka_metadata(client->get(), 0, topic.get(), &metadata, kWarmMs) ==
      RD_KAFKA_RESP_ERR_NO_ERROR)
    rd_kafka_metadata_destroy(metadata);
  std::lock_guard lock(mutex_);
  client_ = std::move(*client);
  topic_ = std::move(topic);
  return {};
}

Producer::~Producer() {
  const auto deadline = Clock::now() + kCloseWait;
  while (!idle() && Clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  stopping_ = true;
  if (thread_.joinable()) thread_.join();
}

bool Producer::idle() const {
  std::lock_guard lock(mutex_);
  return open_ == 0;
}

// Nothing if librdkafka took it. What it does not take was certainly not sent.
std::optional<Error> Producer::hand_over(Append& a) {
  if (!client_ || tainted_)
    return Error{Code::kUnavailable, "the Kafka producer is being replaced: " + problem_, {}};
  if (a.record.size() > kKafkaRecordBytes)
    return Error{Code::kTooLarge, "a record of " + std::to_string(a.record.size()) + " bytes", {}};
  static char empty;  // a null payload would be a tombstone
  void* payload = a.record.empty() ? &empty : a.record.data();
  if (rd_kafka_produce(topic_.get(), static_cast<std::int32_t>(a.partition.value), 0, payload,
                       a.record.size(), nullptr, 0, &a) == 0)
    return std::nullopt;
  const auto code = rd_kafka_last_error();
  if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL)
    return Error{Code::kOverloaded, "the producer's queue is full", {}};
  if (code == RD_KAFKA_RESP_ERR__FATAL) tainted_ = true;
  return to_error(code, "the record was not taken");
}

void Producer::append(PartitionId partition, std::string record, Log::OnReport on_report) {
  counts_.appends.fetch_add(1, std::memory_order_relaxed);
  auto a = std::make_unique<Append>(
      Append{partition, std::move(record), std::move(on_report), std::nullopt});
  {
    std::lock_guard lock(mutex_);
    if (auto error = hand_over(*a)) {
      a->report = AppendReport{AppendReport::Kind::kRefused, {}, std::move(*error)};
      counts_.refused.fetch_add(1, std::memory_order_relaxed);
    } else {
      ++open_;
    }
    const bool refused = a->report.has_value();
    lines_[partition.value].appends.push_back(std::move(a));
    if (!refused) return;
  }
  deliver(partition);
}

void Producer::on_report(const rd_kafka_message_t& m) {
  auto& a = *static_cast<Append*>(m._private);
  AppendReport report;
  if (m.err == RD_KAFKA_RESP_ERR_NO_ERROR) {
    report.kind = AppendReport::Kind::kDurable;
    if (m.offset >= 0) report.offset = Offset{static_cast<std::uint64_t>(m.offset)};
    unreachable_us_ = 0;
    counts_.durable.fetch_add(1, std::memory_order_relaxed);
    if (!report.offset) counts_.without_offset.fetch_add(1, std::memory_order_relaxed);
  } else {
    // Records reported as failed were found in the log, and their offsets invented: unknown.
    report.error = {
        Code::kUnknownOutcome, std::string("the append failed: ") + rd_kafka_err2str(m.err), {}};
    counts_.unknown.fetch_add(1, std::memory_order_relaxed);
    tainted_ = true;
    if (m.err == RD_KAFKA_RESP_ERR__MSG_TIMED_OUT) unreachable_us_ = now_us();
  }
  const PartitionId partition = a.partition;
  {
    std::lock_guard lock(mutex_);
    if (!report.error.message.empty()) problem_ = report.error.message;
    a.report = std::move(report);
    --open_;
  }
  deliver(partition);
}

// One thread at a time per partition, and never under the lock: handlers append.
void Producer::deliver(PartitionId partition) {
  Line& line = lines_[partition.value];
  {
    std::lock_guard lock(mutex_);
    if (line.delivering) return;
    line.delivering = true;
  }
  for (;;) {
    std::unique_ptr<Append> a;
    {
      std::lock_guard lock(mutex_);
      if (line.appends.empty() || !line.appends.front()->report) {
        line.delivering = false;
        return;
      }
      a = std::move(line.appends.front());
      line.appends.pop_front();
    }
    const bool grew = a->report->offset && ends_.raise(partition, a->report->offset->next());
    a->on_report(*a->report);
    if (grew) ends_.tell(partition);
  }
}

void Producer::on_error(rd_kafka_resp_err_t code, const std::string& reason) {
  if (code == RD_KAFKA_RESP_ERR__FATAL) {
    std::lock_guard lock(mutex_);
    problem_ = reason;
    tainted_ = true;
  } else if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
    unreachable_us_ = now_us();
  }
}

void Producer::on_statistics(std::string_view json) {
  const Statistics s = read_statistics(json);
  counts_.brokers_up = s.brokers_up;
  counts_.rtt_avg_us = s.rtt_avg_us;
  counts_.queued = s.queued_records;
  counts_.sent_bytes = s.sent_bytes;
  // Figures may have been made before the loss that was told first.
  if (s.brokers_up > 0 && s.at_us > unreachable_us_) unreachable_us_ = 0;
}

void Producer::run() {
  while (!stopping_) {
    if (client_) rd_kafka_poll(client_.get(), kPollMs);  // only this thread replaces it
    if (tainted_) rebuild();
  }
  give_up({Code::kUnknownOutcome, "the log was closed before the record was acknowledged", {}});
}

// Takes the client away and reports as unknown all that it still held.
void Producer::give_up(const Error& error) {
  Client client;
  TopicHandle topic;
  {
    std::lock_guard lock(mutex_);
    client = std::move(client_);
    topic = std::move(topic_);
  }
  if (client) {
    rd_kafka_purge(client.get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    const auto deadline = Clock::now() + kPurgeWait;
    while (!idle() && Clock::now() < deadline) rd_kafka_poll(client.get(), 10);
    topic.reset();
    client.reset();
  }
  {
    std::lock_guard lock(mutex_);
    for (Line& line : lines_)
      for (auto& a : line.appends) {
        if (a->report) continue;
        a->report = AppendReport{AppendReport::Kind::kUnknown, {}, error};
        counts_.unknown.fetch_add(1, std::memory_order_relaxed);
      }
    open_ = 0;
  }
  for (std::uint32_t p = 0; p < ends_.count(); ++p) deliver(PartitionId{p});
}

void Producer::rebuild() {
  give_up({Code::kUnknownOutcome, "the Kafka producer failed while the record was in flight", {}});
  tainted_ = false;
  auto opened = open();
  if (opened) {
    counts_.rebuilt.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  {
    std::lock_guard lock(mutex_);
    problem_ = opened.error().message;
  }
  tainted_ = true;
  std::this_thread::sleep_for(kRebuildPause);
}

Status Producer::health() const {
  std::lock_guard lock(mutex_);
  if (!client_ || tainted_)
    return fail(Code::kUnavailable, "the Kafka producer is being replaced: " + problem_);
  if (unreachable_us_ != 0) return fail(Code::kUnavailable, "no Kafka broker can be reached");
  return {};
}

void Producer::inject_fatal() {
  std::lock_guard lock(mutex_);
  if (client_)
    rd_kafka_test_fatal_error(client_.get(), RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
                              "injected by a test");
}

}  // namespace soma::events::kafka
