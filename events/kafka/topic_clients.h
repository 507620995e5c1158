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
  using OnTold = std::function<void(Status)>;
  virtual ~TopicSender() = default;
  // Sends all; `told` comes once, within poll(): well when all replicas in sync hold them. Several
  // batches may be in flight; records of one key become durable in the order of the calls. When one
  // fails, all in flight are told so: some of them may be stored, never a later record of a key
  // without the earlier. Send all of them again.
  virtual void send_soon(const std::vector<TopicRecord>& records, OnTold told) = 0;
  virtual void poll(int wait_ms) = 0;
  // `wake` comes from other threads when poll() has something to tell; it must not call back.
  virtual void wake_with(std::function<void()> wake) = 0;

  // Sends and waits, append_timeout_ms and a little at most.
  Status send(const std::vector<TopicRecord>& records);
};
Result<std::unique_ptr<TopicSender>> open_topic_sender(KafkaOptions options);

struct TopicPart {
  std::string topic;
  PartitionId partition;
  auto operator<=>(const TopicPart&) const = default;
};
struct TopicPlace {
  TopicPart part;
  Offset next;  // first that is not yet read
};

inline constexpr std::size_t kAheadRecords = 2000;   // fetched of a partition before they are asked
inline constexpr std::size_t kAheadBytes = 1 << 20;  // for; what one fetch brings may go beyond

// A member of a consumer group. Owned by one thread, which calls poll() several times a second.
// Sees no record of an aborted transaction.
class TopicReceiver {
 public:
  using OnTold = std::function<void(Status)>;
  virtual ~TopicReceiver() = default;  // leaves the group: others need not wait for the session
  // Waits for a record of a partition that is not held, or for wake().
  virtual std::optional<TopicRecord> poll(int wait_ms) = 0;
  virtual void wake() = 0;  // from any thread
  // A held partition gives nothing. What was fetched ahead waits here and is not fetched again.
  virtual void hold(const TopicPart& part, bool held) = 0;
  // One at a time; `told` within this call or a later poll(). kConflict: not stored, because a
  // rebalance came between; commit again what is still owned after it.
  virtual void commit_soon(const std::vector<TopicPlace>& places, OnTold told) = 0;
  virtual Status commit(const std::vector<TopicPlace>& places) = 0;  // waits
  virtual bool assigned() const = 0;  // is a member, and was told what it reads
  // Why it is no member any more, for good. kLocked: another process took its member_id.
  virtual Status health() const = 0;
};
struct ReceiverOptions {
  std::string group;
  // Of one process at a time: killed and back within the session, it has its partitions at once.
  std::string member_id;
  std::int64_t session_timeout_ms = 6000;
  std::vector<std::string> topics;
  // Within poll(): these are about to be another's; the last moment to commit.
  std::function<void(const std::vector<TopicPart>& parts)> on_revoked;
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
  // All or, on failure, some of them.
  virtual Status store(const std::string& topic, const std::map<PartitionId, Cursor>& cursors) = 0;
};
Result<std::unique_ptr<TopicCursors>> open_topic_cursors(KafkaOptions options, std::string group);

}  // namespace soma::events
