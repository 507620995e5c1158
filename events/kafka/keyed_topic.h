// A topic of one partition of which the newest record of each key counts, and brokers remove the
// others: what must be forgotten can stand in it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "events/kafka/kafka_log.h"

namespace soma::events {

struct KeyedRecord {
  Offset offset;
  std::string key;
  std::optional<std::string> value;  // absent: the key is to be forgotten, too
};

inline constexpr std::int64_t kRollMs = 1000;              // what is older may be removed
inline constexpr std::int64_t kCompactionLagMs = 5000;     // and is, when the brokers' cleaner runs
inline constexpr std::int64_t kFileDeleteDelayMs = 1000;   // after it: the old bytes' file goes
inline constexpr std::size_t kKeyedRecordBytes = 512'000;  // key and value

// Follows its topic on a thread of its own, from the topic's start. Thread-safe; the calls block,
// append_timeout_ms or read_timeout_ms and a little at most.
class KeyedTopic {
 public:
  // In the order of the topic, on the topic's thread; must not call back.
  using Take = std::function<void(const KeyedRecord&)>;
  virtual ~KeyedTopic() = default;
  // Durable and taken when it returns well. kUnavailable: some may be there, or yet appear.
  // Offsets of what is given are not looked at.
  virtual Status append(const std::vector<KeyedRecord>& records) = 0;
  // All that stood in the topic at the call is taken when it returns well.
  virtual Status catch_up() = 0;
  // What the topic holds now, read from its start: what was removed does not come. kCancelled once
  // `stopping`.
  virtual Status scan(const Take& take, const std::function<bool()>& stopping) = 0;
};

// Makes the topic where it is absent and `writing`, and checks it, as the journal's.
// kNotFound: it is absent, and only to be read.
Result<std::unique_ptr<KeyedTopic>> open_keyed_topic(KafkaOptions options, const std::string& topic,
                                                     bool writing, KeyedTopic::Take take);

}  // namespace soma::events
