// The topics: made as a journal needs them, and refused when they would lose events.
#pragma once

#include <cstdint>

#include "events/kafka/client.h"
#include "events/kafka/topic_clients.h"

namespace soma::events::kafka {

struct Journal {
  std::uint32_t partitions = 0;
  std::string cluster;  // the cluster's id
};

// Makes the journal's topic where `make` allows and it is absent, and checks it.
// kConflict names the wrong setting and the command that mends it.
Result<Journal> prepare_journal(const KafkaOptions& options, bool make);

struct Described {
  bool exists = false;
  std::uint32_t partitions = 0;
  int replication = 0;  // of the partition with the fewest
  int brokers = 0;
};
Result<Described> describe(rd_kafka_t* rk, const std::string& topic, std::int64_t timeout_ms);

// A topic beside the journal; see prepare_topics.
Status prepare_topic(rd_kafka_t* rk, const KafkaOptions& options, const TopicWish& wish);

// A topic of one partition that brokers compact soon; see open_keyed_topic. kNotFound where it is
// absent and may not be made.
Status prepare_keyed_topic(const KafkaOptions& options, const std::string& topic, bool make);

}  // namespace soma::events::kafka
