// Topics beside the journal: making them, writing, reading as a group, and places kept in them.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "events/kafka/kafka_log.h"
#include "events/kafka/topic_record.h"

namespace soma::events {

inline constexpr std::size_t kTopicRecordBytes = 8 << 20;  // of a topic of ours, but the journal

struct TopicWish {
  std::string name;  // with prefix
  std::uint32_t partitions = 1;
  std::int64_t retention_ms = -1;  // of a new topic; an existing one may have another
};
// Makes the topics that are absent and checks the others: nothing may be compacted away, and
// records of kTopicRecordBytes must fit. kConflict names the setting and the command that mends it.
// Does nothing where KafkaOptions::manage_topics is false.
Status prepare_topics(const KafkaOptions& options, const std::vector<TopicWish>& wishes);

// Owned by one thread.
class TopicSender {
 public:
  virtual ~TopicSender() = default;
  // Sends all and waits until all replicas in sync hold them; blocks for append_timeout_ms at most.
  // Records of one key keep their order. On failure some may be stored: send all of them again.
  virtual Status send(const std::vector<TopicRecord>& records) = 0;
};
Result<std::unique_ptr<TopicSender>> open_topic_sender(KafkaOptions options);

struct TopicPlace {
  std::string topic;
  PartitionId partition;
  Offset next;  // first that is not yet read
};

// A member of a consumer group. Owned by one thread, which calls poll() several times a second.
// Sees no record of an aborted transaction.
class TopicReceiver {
 public:
  virtual ~TopicReceiver() = default;  // leaves the group
  virtual std::optional<TopicRecord> poll(int wait_ms) = 0;
  // Durable when it returns well. Another member may own the partition by now: no error.
  virtual Status commit(const std::vector<TopicPlace>& places) = 0;
  virtual void pause(const std::string& topic, PartitionId partition, bool paused) = 0;
};
struct ReceiverOptions {
  std::string group;
  std::vector<std::string> topics;
  // Within poll(): the partition is about to be another's; the last moment to commit.
  std::function<void(const std::string& topic, PartitionId partition)> on_revoked;
};
Result<std::unique_ptr<TopicReceiver>> open_topic_receiver(KafkaOptions kafka,
                                                           ReceiverOptions options);

// Places in topics that outlive nodes: the offsets of a consumer group without members, so that
// Kafka's own tools show how far it is. Brokers forget them offsets.retention.minutes (7 days)
// after they were last stored. Owned by one thread.
class TopicCursors {
 public:
  struct Cursor {
    Offset next;
    std::string note;  // at most 4096 bytes
  };
  virtual ~TopicCursors() = default;
  virtual Result<std::optional<Cursor>> load(const std::string& topic, PartitionId partition) = 0;
  virtual Status store(const std::string& topic, PartitionId partition, const Cursor& cursor) = 0;
};
Result<std::unique_ptr<TopicCursors>> open_topic_cursors(KafkaOptions options, std::string group);

}  // namespace soma::events
