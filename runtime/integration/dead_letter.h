// What becomes of a record that could not be taken: kept as it came, with the reason.
#pragma once

#include <boost/json/object.hpp>

#include "events/kafka/topic_record.h"
#include "schemas/base/errors.h"

namespace soma::runtime::integration {

struct Refusal {
  std::string type;     // a stable code: "malformed", "unauthenticated", …
  std::string message;  // a sentence that names the field
  int attempts = 0;     // how often it was tried again before
};

// {original_event{headers, key, data|data_base64}, source_topic, source_partition, source_offset,
// error_message, error_type, retry_count, timestamp}. Its ce_id is the same whenever it is written
// again. Tokens are left out. A record whose letter would not fit into kTopicRecordBytes is cut:
// original_event then says `truncated` and `value_bytes`, and data_base64 is how the value begins.
events::TopicRecord dead_letter(const events::TopicRecord& record, const std::string& topic,
                                const Refusal& refusal, std::int64_t now_ms);

boost::json::object dead_letter_schema();

}  // namespace soma::runtime::integration
