// A record of any topic, as integrators write and read them.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "schemas/base/ids.h"

namespace soma::events {

struct TopicRecord {
  std::string topic;      // with prefix
  PartitionId partition;  // of read ones; of sent ones the key decides, as Kafka's own clients do
  Offset offset;          // of read ones
  std::string key;        // empty: none
  std::string value;
  std::vector<std::pair<std::string, std::string>> headers;  // in order; a name may stand twice
};

}  // namespace soma::events
