// Places kept as the offsets of a group without members.
#include <cstring>

#include "events/kafka/topic_clients.h"
#include "events/kafka/topic_list.h"

namespace soma::events {

namespace {

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

  Status store(const std::string& topic, const std::map<PartitionId, Cursor>& cursors) override {
    if (cursors.empty()) return {};
    const auto list = kafka::make_list();
    for (const auto& [partition, cursor] : cursors) {
      auto& row = kafka::add(list, topic, partition);
      row.offset = static_cast<std::int64_t>(cursor.next.value);
      row.metadata = ::strdup(cursor.note.c_str());  // the list's to free
      row.metadata_size = cursor.note.size();
    }
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

Result<std::unique_ptr<TopicCursors>> open_topic_cursors(KafkaOptions options, std::string group) {
  auto cursors = std::make_unique<Cursors>(std::move(options), std::move(group));
  if (auto ok = cursors->open(); !ok) return tl::unexpected(ok.error());
  return std::unique_ptr<TopicCursors>(std::move(cursors));
}

}  // namespace soma::events
