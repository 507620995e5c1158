// The few numbers of librdkafka's statistics that operators need.
#pragma once

#include <cstdint>
#include <string_view>

namespace soma::events::kafka {

struct Statistics {
  std::int64_t at_us = 0;  // monotonic clock
  std::uint64_t brokers_up = 0;
  std::uint64_t rtt_avg_us = 0;  // of the slowest broker
  std::uint64_t queued_records = 0;
  std::uint64_t sent_bytes = 0;
};

// All zero when the text is not what librdkafka writes.
Statistics read_statistics(std::string_view json);

}  // namespace soma::events::kafka
