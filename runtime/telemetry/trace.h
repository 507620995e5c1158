// W3C trace context: parse, make a child, write.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace soma::runtime {

struct TraceParent {
  std::string trace_id;  // 32 lower-case hex digits, not all zero
  std::string span_id;   // 16 lower-case hex digits, not all zero
  std::uint8_t flags = 0;

  std::string text() const;  // 00-TRACE-SPAN-FLAGS
};

// Nothing when the header breaks the W3C rules; unknown versions are read as version 00.
std::optional<TraceParent> parse_traceparent(std::string_view text);
TraceParent new_trace();                          // fresh ids, sampled
TraceParent child_of(const TraceParent& parent);  // same trace, fresh span id
// The child of the given header, or a fresh trace when it is absent or broken.
std::string continue_trace(std::string_view header);

std::string random_hex(std::size_t bytes);  // from the system's random source

}  // namespace soma::runtime
