// A consumer that is assigned what it is asked for.
#include "events/kafka/topic_viewer.h"

#include <chrono>

#include "events/kafka/topic_list.h"
#include "events/kafka/topics.h"

namespace soma::events {

namespace {

using Clock = std::chrono::steady_clock;

class Viewer final : public TopicViewer {
 public:
  explicit Viewer(KafkaOptions options) : options_(std::move(options)) {}

  Status open() {
    if (auto ok = kafka::check_options(options_); !ok) return ok;
    auto client = kafka::make_client(RD_KAFKA_CONSUMER, options_,
                                     {{"group.id", options_.topic_prefix + "soma.viewer"},
                                      {"enable.auto.commit", "false"},
                                      {"auto.offset.reset", "earliest"},
                                      {"enable.partition.eof", "true"}},
                                     events_);
    if (!client) return tl::unexpected(client.error());
    client_ = std::move(*client);
    rd_kafka_poll_set_consumer(client_.get());
    return {};
  }

  Result<Facts> facts(const std::string& topic) override {
    auto found = kafka::describe(client_.get(), topic, options_.read_timeout_ms);
    if (!found) return tl::unexpected(found.error());
    return Facts{found->exists, found->partitions, found->replication};
  }

  Result<Span> span(const std::string& topic, PartitionId partition) override {
    std::int64_t first = 0, end = 0;
    const auto code = rd_kafka_query_watermark_offsets(
        client_.get(), topic.c_str(), static_cast<std::int32_t>(partition.value), &first, &end,
        static_cast<int>(options_.read_timeout_ms));
    if (code)
      return tl::unexpected(
          kafka::to_error(code, "partition " + std::to_string(partition.value) + " of " + topic));
    return Span{Offset{static_cast<std::uint64_t>(first)}, Offset{static_cast<std::uint64_t>(end)}};
  }

  Result<std::vector<TopicRecord>> newest(const std::string& topic, PartitionId partition,
                                          std::size_t count) override {
    auto where = span(topic, partition);
    if (!where) return tl::unexpected(where.error());
    const std::uint64_t end = where->end.value;
    const std::uint64_t from = std::max(where->first.value, end > count ? end - count : 0);
    std::vector<TopicRecord> out;
    if (from >= end) return out;
    const auto list = kafka::make_list();
    kafka::add(list, topic, partition).offset = static_cast<std::int64_t>(from);
    if (const auto code = rd_kafka_assign(client_.get(), list.get()))
      return tl::unexpected(kafka::to_error(code, "topic " + topic));
    const auto deadline = Clock::now() + std::chrono::milliseconds(options_.read_timeout_ms);
    bool whole = false;
    while (!whole && Clock::now() < deadline) {
      const std::unique_ptr<rd_kafka_message_t, void (*)(rd_kafka_message_t*)> m(
          rd_kafka_consumer_poll(client_.get(), 100), rd_kafka_message_destroy);
      if (!m) continue;
      whole = m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
      if (m->err) continue;
      out.push_back(kafka::record_of(*m));
      whole = out.back().offset.value + 1 >= end;
    }
    rd_kafka_assign(client_.get(), nullptr);
    if (!whole) return fail(Code::kUnavailable, "topic " + topic + " was not read in time");
    return out;
  }

 private:
  const KafkaOptions options_;
  kafka::ClientEvents events_;
  kafka::Client client_;
};

}  // namespace

Result<std::unique_ptr<TopicViewer>> open_topic_viewer(KafkaOptions options) {
  auto viewer = std::make_unique<Viewer>(std::move(options));
  if (auto ok = viewer->open(); !ok) return tl::unexpected(ok.error());
  return std::unique_ptr<TopicViewer>(std::move(viewer));
}

}  // namespace soma::events
