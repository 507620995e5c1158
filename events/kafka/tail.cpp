// The tail: one queue for all partitions, read in batches.
#include "events/kafka/tail.h"

#include <algorithm>
#include <array>

namespace soma::events::kafka {

namespace {
constexpr std::size_t kBatch = 256;
constexpr int kWaitMs = 50;  // also the longest wait for the thread to end
// librdkafka's batch waits until it is full: whoever reads what was acknowledged waits as long.
constexpr int kGatherMs = 3;
}  // namespace

Tail::Tail(const KafkaOptions& options, Ends& ends, RecordCache& cache)
    : options_(options), ends_(ends), cache_(cache) {}

Result<std::unique_ptr<Tail>> Tail::start(const KafkaOptions& options, Ends& ends,
                                          RecordCache& cache) {
  std::unique_ptr<Tail> tail(new Tail(options, ends, cache));
  if (auto ok = tail->open(); !ok) return tl::unexpected(ok.error());
  tail->thread_ = std::thread([t = tail.get()] { t->run(); });
  return tail;
}

Status Tail::open() {
  const std::string name = journal_topic(options_);
  auto client = make_client(RD_KAFKA_CONSUMER, options_, tail_properties(), events_);
  if (!client) return tl::unexpected(client.error());
  client_ = std::move(*client);
  topic_.reset(rd_kafka_topic_new(client_.get(), name.c_str(), nullptr));
  if (!topic_) return tl::unexpected(to_error(rd_kafka_last_error(), "topic " + name));
  queue_.reset(rd_kafka_queue_new(client_.get()));
  for (std::uint32_t p = 0; p < ends_.count(); ++p) {
    const Offset end = ends_.get(PartitionId{p});
    if (rd_kafka_consume_start_queue(topic_.get(), static_cast<std::int32_t>(p),
                                     static_cast<std::int64_t>(end.value), queue_.get()) != 0)
      return tl::unexpected(to_error(rd_kafka_last_error(), "cannot follow " + name));
    cache_.followed(PartitionId{p}, end);
  }
  return {};
}

Tail::~Tail() {
  stopping_ = true;
  if (thread_.joinable()) thread_.join();
  if (!topic_) return;
  for (std::uint32_t p = 0; p < ends_.count(); ++p)
    rd_kafka_consume_stop(topic_.get(), static_cast<std::int32_t>(p));
  queue_.reset();
  topic_.reset();
}

void Tail::run() {
  std::array<rd_kafka_message_t*, kBatch> batch{};
  while (!stopping_) {
    std::size_t n = 0;
    if (auto* first = rd_kafka_consume_queue(queue_.get(), kWaitMs)) {
      batch[0] = first;
      const auto more =
          rd_kafka_consume_batch_queue(queue_.get(), kGatherMs, batch.data() + 1, kBatch - 1);
      n = 1 + static_cast<std::size_t>(std::max<ssize_t>(0, more));
    }
    for (std::size_t i = 0; i < n; ++i) {
      rd_kafka_message_t* m = batch[i];
      if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {  // errors: librdkafka goes on by itself
        const PartitionId p{static_cast<std::uint32_t>(m->partition)};
        const Offset offset{static_cast<std::uint64_t>(m->offset)};
        cache_.put(p, offset, {static_cast<const char*>(m->payload), m->len});
        cache_.followed(p, offset.next());
        tailed_.fetch_add(1, std::memory_order_relaxed);
        if (ends_.raise(p, offset.next())) ends_.tell(p);
      }
      rd_kafka_message_destroy(m);
    }
    rd_kafka_poll(client_.get(), 0);
  }
}

}  // namespace soma::events::kafka
