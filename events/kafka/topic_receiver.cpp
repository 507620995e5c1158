// Reading topics as a member of a group. Each partition has a queue of its own, so that one that is
// held keeps what was fetched: pausing would throw it away.
#include <algorithm>
#include <chrono>
#include <deque>

#include "events/kafka/signal.h"
#include "events/kafka/topic_clients.h"
#include "events/kafka/topic_list.h"

namespace soma::events {

namespace kafka {

namespace {
constexpr int kCommitWaitMs = 3000;

using Event = std::unique_ptr<rd_kafka_event_t, void (*)(rd_kafka_event_t*)>;
Event next_event(const QueueHandle& queue, int wait_ms) {
  return {rd_kafka_queue_poll(queue.get(), wait_ms), rd_kafka_event_destroy};
}
}  // namespace

rd_kafka_resp_err_t commit(rd_kafka_t* rk, const TopicList& list) {
  const QueueHandle queue(rd_kafka_queue_new(rk));
  if (const auto code = rd_kafka_commit_queue(rk, list.get(), queue.get(), nullptr, nullptr))
    return code;
  const Event answer = next_event(queue, kCommitWaitMs);
  return answer ? rd_kafka_event_error(answer.get()) : RD_KAFKA_RESP_ERR__TIMED_OUT;
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

using Clock = std::chrono::steady_clock;
constexpr auto kLeaveWait = std::chrono::seconds(2);
constexpr int kLeavePollMs = 10;
constexpr std::int64_t kLongestHeartbeatMs = 1000;
constexpr std::size_t kUnserved = 256;  // records, before the group has its turn
constexpr std::size_t kInARow = 128;    // records of one partition, before the next

struct MessageDeleter {
  void operator()(rd_kafka_message_t* m) const { rd_kafka_message_destroy(m); }
};
using Message = std::unique_ptr<rd_kafka_message_t, MessageDeleter>;

class Receiver final : public TopicReceiver {
 public:
  Receiver(KafkaOptions kafka, ReceiverOptions options)
      : kafka_(std::move(kafka)), options_(std::move(options)) {}

  ~Receiver() override {
    if (!client_) return;
    // A static member that only closes is waited for; one that unsubscribes leaves.
    rd_kafka_unsubscribe(client_.get());
    const auto until = Clock::now() + kLeaveWait;
    while (health() && in_group() && Clock::now() < until)
      Message ignored(rd_kafka_consumer_poll(client_.get(), kLeavePollMs));
    told_ = nullptr;
    rd_kafka_consumer_close(client_.get());
  }

  Status open() {
    events_.on_rebalance = [this](rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t* list) {
      rebalance(code, list);
    };
    kafka::Properties properties = {
        {"group.id", options_.group},
        // Eager: in a cooperative one librdkafka 2.0.2 loses the whole assignment when a commit
        // meets a rebalance (its issue 4059).
        {"partition.assignment.strategy", "roundrobin"},
        {"enable.auto.commit", "false"},
        {"auto.offset.reset", "earliest"},
        {"isolation.level", "read_committed"},
        {"session.timeout.ms", std::to_string(options_.session_timeout_ms)},
        // How soon a member hears that others come or go.
        {"heartbeat.interval.ms",
         std::to_string(std::min(kLongestHeartbeatMs, options_.session_timeout_ms / 6))},
        {"fetch.wait.max.ms", "50"},
        // Both are of each partition, because each has its own queue.
        {"queued.min.messages", std::to_string(kAheadRecords)},
        {"queued.max.messages.kbytes", std::to_string(kAheadBytes >> 10)}};
    if (!options_.member_id.empty())
      properties.emplace_back("group.instance.id", options_.member_id);
    auto client = kafka::make_client(RD_KAFKA_CONSUMER, kafka_, properties, events_);
    if (!client) return tl::unexpected(client.error());
    client_ = std::move(*client);
    rd_kafka_poll_set_consumer(client_.get());
    group_.reset(rd_kafka_queue_get_consumer(client_.get()));
    told_queue_.reset(rd_kafka_queue_new(client_.get()));
    for (const auto* queue : {&group_, &told_queue_}) signal_.watch(*queue);
    const auto list = kafka::make_list();
    for (const auto& topic : options_.topics)
      rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), RD_KAFKA_PARTITION_UA);
    const auto code = rd_kafka_subscribe(client_.get(), list.get());
    if (code) return tl::unexpected(kafka::to_error(code, "cannot join " + options_.group));
    return {};
  }

  std::optional<TopicRecord> poll(int wait_ms) override {
    const auto until = Clock::now() + std::chrono::milliseconds(wait_ms);
    for (bool waited = wait_ms <= 0;; waited = true) {
      if (unserved_ < kUnserved)
        if (auto record = take()) return record;
      serve();
      if (auto record = take()) return record;
      if (waited) return {};
      signal_.wait_until(until);
    }
  }
  void wake() override { signal_.raise(); }

  void hold(const TopicPart& part, bool held) override {
    for (auto& line : lines_)
      if (line.part == part) line.held = held;
  }

  void commit_soon(const std::vector<TopicPlace>& places, OnTold told) override {
    if (told_) return told(fail(Code::kConflict, "a commit is under way"));
    if (auto ok = owns(); !ok) return told(ok);
    const auto code = rd_kafka_commit_queue(client_.get(), list_of(places).get(), told_queue_.get(),
                                            nullptr, nullptr);
    if (code) return told(judge(code));
    told_ = std::move(told);
  }
  Status commit(const std::vector<TopicPlace>& places) override {
    if (places.empty()) return {};
    if (auto ok = owns(); !ok) return ok;
    return judge(kafka::commit(client_.get(), list_of(places)));
  }

  bool assigned() const override { return assigned_ && !rd_kafka_assignment_lost(client_.get()); }
  Status health() const override {
    return kafka::member_health(client_.get(), options_.group, options_.member_id);
  }

 private:
  struct Line {
    TopicPart part;
    kafka::QueueHandle queue;
    bool held = false;
  };

  static kafka::TopicList list_of(const std::vector<TopicPlace>& places) {
    auto list = kafka::make_list();
    for (const auto& place : places)
      kafka::add(list, place.part.topic, place.part.partition).offset =
          static_cast<std::int64_t>(place.next.value);
    return list;
  }

  Status owns() const {
    return judge(rd_kafka_assignment_lost(client_.get()) ? RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST
                                                         : RD_KAFKA_RESP_ERR_NO_ERROR);
  }
  Status judge(rd_kafka_resp_err_t code) const {
    if (!code) return {};
    Error error = kafka::to_error(code, "offsets of " + options_.group);
    switch (code) {
      case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION:
      case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID:
      case RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS:
      case RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST:
        error.code = Code::kConflict;
        break;
      default:
        break;
    }
    return tl::unexpected(std::move(error));
  }

  // The group's turns and what became of commits.
  void serve() {
    unserved_ = 0;
    while (const Message m{rd_kafka_consumer_poll(client_.get(), 0)}) {
      if (m->err)
        complaints_.hear(*m, kafka_.on_log);
      else
        strays_.push_back(kafka::record_of(*m));
    }
    while (const auto event = kafka::next_event(told_queue_, 0))
      if (const auto told = std::exchange(told_, nullptr))
        told(judge(rd_kafka_event_error(event.get())));
  }

  std::optional<TopicRecord> take() {
    ++unserved_;
    if (!strays_.empty()) {
      auto record = std::move(strays_.front());
      strays_.pop_front();
      return record;
    }
    const std::size_t first = in_a_row_ < kInARow ? at_ : at_ + 1;
    for (std::size_t i = 0; i < lines_.size(); ++i) {
      const std::size_t at = (first + i) % lines_.size();
      if (lines_[at].held) continue;
      while (const Message m{rd_kafka_consume_queue(lines_[at].queue.get(), 0)}) {
        if (m->err) {  // librdkafka goes on by itself
          complaints_.hear(*m, kafka_.on_log);
          continue;
        }
        in_a_row_ = at == at_ && in_a_row_ < kInARow ? in_a_row_ + 1 : 1;
        at_ = at;
        return kafka::record_of(*m);
      }
    }
    return {};
  }

  void rebalance(rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t* list) {
    std::vector<TopicPart> parts;
    for (int i = 0; i < list->cnt; ++i)
      parts.push_back({list->elems[i].topic,
                       PartitionId{static_cast<std::uint32_t>(list->elems[i].partition)}});
    const bool given = code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    if (!given) options_.on_revoked(parts);
    // All are asked back before any are given.
    lines_.clear();
    strays_.clear();
    at_ = in_a_row_ = 0;
    if (given)
      for (const auto& part : parts) add(part);
    assigned_ = given;
    complaints_.forget();
    rd_kafka_assign(client_.get(), given ? list : nullptr);
  }

  // Before it is assigned, so that nothing of it goes to the common queue.
  void add(const TopicPart& part) {
    kafka::QueueHandle queue(rd_kafka_queue_get_partition(
        client_.get(), part.topic.c_str(), static_cast<std::int32_t>(part.partition.value)));
    rd_kafka_queue_forward(queue.get(), nullptr);
    signal_.watch(queue);
    lines_.push_back({part, std::move(queue)});
  }

  // Leaving takes the member's id away.
  bool in_group() const {
    char* id = rd_kafka_memberid(client_.get());
    const bool in = id && *id;
    if (id) rd_kafka_mem_free(client_.get(), id);
    return in;
  }

  const KafkaOptions kafka_;
  const ReceiverOptions options_;
  kafka::Signal signal_;
  kafka::ClientEvents events_;
  kafka::Client client_;
  kafka::QueueHandle group_, told_queue_;
  std::vector<Line> lines_;
  std::size_t at_ = 0;              // the line that gave last
  std::size_t in_a_row_ = 0;        // that it gave
  std::size_t unserved_ = 0;        // records since the group had its turn
  std::deque<TopicRecord> strays_;  // that came by the common queue all the same
  kafka::Complaints complaints_;
  bool assigned_ = false;
  OnTold told_;
};

}  // namespace

Result<std::unique_ptr<TopicReceiver>> open_topic_receiver(KafkaOptions kafka,
                                                           ReceiverOptions options) {
  auto receiver = std::make_unique<Receiver>(std::move(kafka), std::move(options));
  if (auto ok = receiver->open(); !ok) return tl::unexpected(ok.error());
  return std::unique_ptr<TopicReceiver>(std::move(receiver));
}

}  // namespace soma::events
