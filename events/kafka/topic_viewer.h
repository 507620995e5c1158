// Looking at topics: for tools. Reads only, joins no group.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "events/kafka/kafka_log.h"
#include "events/kafka/topic_record.h"

namespace soma::events {

// Owned by one thread. kUnavailable where no broker answers in time.
class TopicViewer {
 public:
  struct Facts {
    bool exists = false;
    std::uint32_t partitions = 0;
    int replication = 0;  // of the partition with the fewest
  };
  struct Span {
    Offset first, end;
  };
  virtual ~TopicViewer() = default;
  virtual Result<Facts> facts(const std::string& topic) = 0;
  virtual Result<Span> span(const std::string& topic, PartitionId partition) = 0;
  // The newest of a partition, at most `count`, oldest first.
  virtual Result<std::vector<TopicRecord>> newest(const std::string& topic, PartitionId partition,
                                                  std::size_t count) = 0;
};
Result<std::unique_ptr<TopicViewer>> open_topic_viewer(KafkaOptions options);

}  // namespace soma::events
