// Lists of partitions with one owner, and records as librdkafka gives them.
#pragma once

#include "events/kafka/client.h"
#include "events/kafka/topic_record.h"

namespace soma::events::kafka {

struct ListDeleter {
  void operator()(rd_kafka_topic_partition_list_t* l) const {
    rd_kafka_topic_partition_list_destroy(l);
  }
};
using TopicList = std::unique_ptr<rd_kafka_topic_partition_list_t, ListDeleter>;

inline TopicList make_list() { return TopicList(rd_kafka_topic_partition_list_new(1)); }
inline rd_kafka_topic_partition_t& add(const TopicList& list, const std::string& topic,
                                       PartitionId partition) {
  return *rd_kafka_topic_partition_list_add(list.get(), topic.c_str(),
                                            static_cast<std::int32_t>(partition.value));
}

// Waits for the answer: rd_kafka_commit itself would wait for as long as the brokers are away.
rd_kafka_resp_err_t commit(rd_kafka_t* rk, const TopicList& list);

TopicRecord record_of(const rd_kafka_message_t& message);

}  // namespace soma::events::kafka
