// The pool: which consumer serves a read, and how it knows that it has reached the end.
#include "events/kafka/readers.h"

#include <algorithm>
#include <chrono>

namespace soma::events::kafka {

namespace {
using Clock = std::chrono::steady_clock;
constexpr int kRetryMs = 20;
constexpr int kTryMs = 700;
constexpr int kMostSilent = 3;       // looks at who leads that nobody answered
constexpr int kShortTriesMs = 7000;  // then it is not the leader that is gone: the broker is slow

struct MessageDeleter {
  void operator()(rd_kafka_message_t* m) const { rd_kafka_message_destroy(m); }
};
using Message = std::unique_ptr<rd_kafka_message_t, MessageDeleter>;
struct PartitionsDeleter {
  void operator()(rd_kafka_topic_partition_list_t* l) const {
    rd_kafka_topic_partition_list_destroy(l);
  }
};
using Partitions = std::unique_ptr<rd_kafka_topic_partition_list_t, PartitionsDeleter>;

Offset offset_of(const rd_kafka_message_t& m) {
  return Offset{static_cast<std::uint64_t>(std::max<std::int64_t>(m.offset, 0))};
}
}  // namespace

struct Readers::Consumer {
  ClientEvents events;
  Client client;
  TopicHandle topic;
  QueueHandle queue;
  bool busy = false, started = false;
  PartitionId partition{};
  Offset next{};    // of the stream
  Message waiting;  // taken from the queue, but too much for the last read
  std::uint64_t last_used = 0;
};

class Readers::Lease {
 public:
  Lease(Readers& pool, PartitionId partition, Offset from)
      : pool_(pool), consumer_(pool.acquire(partition, from)) {}
  ~Lease() { pool_.release(consumer_); }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  Consumer& operator*() { return consumer_; }

 private:
  Readers& pool_;
  Consumer& consumer_;
};

Readers::Readers(const KafkaOptions& options)
    : options_(options), topic_name_(journal_topic(options)) {
  for (auto& c : consumers_) c = std::make_unique<Consumer>();
}

Readers::~Readers() {
  for (auto& c : consumers_) {
    stop(*c);
    c->queue.reset();
    c->topic.reset();
  }
}

Readers::Consumer& Readers::acquire(PartitionId partition, Offset from) {
  std::unique_lock lock(mutex_);
  for (;;) {
    Consumer* best = nullptr;
    for (auto& c : consumers_) {
      if (c->busy) continue;
      const bool fits = c->started && c->partition == partition && c->next == from;
      if (fits || !best || c->last_used < best->last_used) best = c.get();
      if (fits) break;
    }
    if (best) {
      best->busy = true;
      best->last_used = ++clock_;
      return *best;
    }
    freed_.wait(lock);
  }
}

void Readers::release(Consumer& consumer) {
  {
    std::lock_guard lock(mutex_);
    consumer.busy = false;
  }
  freed_.notify_one();
}

Status Readers::open(Consumer& c) {
  if (c.client) return {};
  auto client = make_client(RD_KAFKA_CONSUMER, options_, reader_properties(options_), c.events);
  if (!client) return tl::unexpected(client.error());
  c.client = std::move(*client);
  c.topic.reset(rd_kafka_topic_new(c.client.get(), topic_name_.c_str(), nullptr));
  c.queue.reset(rd_kafka_queue_new(c.client.get()));
  return {};
}

void Readers::stop(Consumer& c) {
  c.waiting.reset();
  if (c.started) rd_kafka_consume_stop(c.topic.get(), static_cast<std::int32_t>(c.partition.value));
  c.started = false;
}

Status Readers::seek(Consumer& c, PartitionId partition, Offset from) {
  if (c.started && c.partition == partition && c.next == from) return {};
  stop(c);
  if (rd_kafka_consume_start_queue(c.topic.get(), static_cast<std::int32_t>(partition.value),
                                   static_cast<std::int64_t>(from.value), c.queue.get()) != 0)
    return tl::unexpected(to_error(rd_kafka_last_error(), "cannot read " + topic_name_));
  c.started = true;
  c.partition = partition;
  c.next = from;
  return {};
}

// What a client knows of leaders is up to half a minute old, and a request to a broker that is gone
// waits for its return: so tries are short at first, and each is followed by a look at who leads.
Result<Offset> Readers::end(PartitionId partition) {
  Lease lease(*this, partition, Offset{~0ULL});
  if (auto ok = open(*lease); !ok) return tl::unexpected(ok.error());
  const Consumer& c = *lease;
  const auto deadline = Clock::now() + std::chrono::milliseconds(options_.read_timeout_ms);
  const auto left_ms = [&] {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    return static_cast<int>(std::max<std::int64_t>(left.count(), 1));
  };
  const Partitions asked(rd_kafka_topic_partition_list_new(1));
  auto& row = *rd_kafka_topic_partition_list_add(asked.get(), topic_name_.c_str(),
                                                 static_cast<std::int32_t>(partition.value));
  const auto short_until = Clock::now() + std::chrono::milliseconds(kShortTriesMs);
  for (int silent = 0;;) {
    const int try_ms = Clock::now() < short_until ? std::min(kTryMs, left_ms()) : left_ms();
    row.offset = RD_KAFKA_OFFSET_END;  // where a time is asked for, this means the end
    row.err = RD_KAFKA_RESP_ERR_NO_ERROR;
    // Not rd_kafka_query_watermark_offsets, which forgets its timeout when a leader is gone.
    auto code = rd_kafka_offsets_for_times(c.client.get(), asked.get(), try_ms);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) code = row.err;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && row.offset >= 0)
      return Offset{static_cast<std::uint64_t>(row.offset)};
    // A new topic, or a leader that moves, is settled in a moment.
    if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED || Clock::now() >= deadline ||
        silent >= kMostSilent)
      return tl::unexpected(to_error(code, "the end of partition " +
                                               std::to_string(partition.value) + " of " +
                                               topic_name_ + " is not known"));
    rd_kafka_poll(c.client.get(), kRetryMs);
    const struct rd_kafka_metadata* leaders = nullptr;
    const bool answered =
        rd_kafka_metadata(c.client.get(), 0, c.topic.get(), &leaders,
                          std::min(kTryMs, left_ms())) == RD_KAFKA_RESP_ERR_NO_ERROR;
    if (answered) rd_kafka_metadata_destroy(leaders);
    silent = answered ? 0 : silent + 1;
  }
}

Result<std::vector<Record>> Readers::read(PartitionId partition, Offset from, Offset limit,
                                          std::size_t max_bytes) {
  Lease lease(*this, partition, from);
  if (auto ok = open(*lease); !ok) return tl::unexpected(ok.error());
  if (auto ok = seek(*lease, partition, from); !ok) return tl::unexpected(ok.error());
  auto records = gather(*lease, limit, max_bytes);
  // At its end the stream would go on fetching for nobody.
  if (!records || (*lease).next >= limit) stop(*lease);
  return records;
}

Result<std::vector<Record>> Readers::gather(Consumer& c, Offset limit, std::size_t max_bytes) {
  std::vector<Record> out;
  std::size_t bytes = 0;
  std::string last_problem = "no answer";
  const auto deadline = Clock::now() + std::chrono::milliseconds(options_.read_timeout_ms);
  const std::string where = "partition " + std::to_string(c.partition.value) + " of " + topic_name_;
  while (c.next < limit) {
    if (!c.waiting) c.waiting.reset(rd_kafka_consume_queue(c.queue.get(), 100));
    rd_kafka_poll(c.client.get(), 0);
    if (!c.waiting) {
      if (Clock::now() < deadline) continue;
      return fail(Code::kUnavailable, where + " cannot be read: " + last_problem);
    }
    const rd_kafka_message_t& m = *c.waiting;
    if (m.err == RD_KAFKA_RESP_ERR_NO_ERROR) {
      if (!out.empty() && bytes + m.len > max_bytes) return out;
      bytes += m.len;
      out.push_back({offset_of(m), std::string(static_cast<const char*>(m.payload), m.len)});
      c.next = offset_of(m).next();
    } else if (m.err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
      // Behind `limit` when control records end the partition. Before it, a new leader does not yet
      // know how far its log is committed: wait.
      if (offset_of(m) >= limit) c.next = offset_of(m);
    } else if (m.err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
               m.err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE) {
      return fail(Code::kCorrupt, where + " has no record " + std::to_string(c.next.value) +
                                      " any more: the journal was cut off at its beginning or lost "
                                      "its end");
    } else {
      last_problem = rd_kafka_message_errstr(&m);
    }
    c.waiting.reset();
  }
  return out;
}

}  // namespace soma::events::kafka
