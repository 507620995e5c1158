// W3C trace context (https://www.w3.org/TR/trace-context/), level 1.
#include "runtime/telemetry/trace.h"

#include <openssl/rand.h>

#include <cstdlib>

#include "schemas/base/sha256.h"

namespace soma::runtime {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;  // upper case is not allowed by the W3C
}

bool is_hex(std::string_view text) {
  for (const char c : text)
    if (hex_digit(c) < 0) return false;
  return true;
}

bool all_zero(std::string_view text) { return text.find_first_not_of('0') == text.npos; }

}  // namespace

std::string random_hex(std::size_t bytes) {
  // A block at a time: one call of the random source costs as much as a thousand bytes of it.
  thread_local unsigned char block[1024];
  thread_local std::size_t used = sizeof block;
  std::string raw;
  raw.reserve(bytes);
  while (raw.size() < bytes) {
    if (used == sizeof block) {
      if (RAND_bytes(block, sizeof block) != 1) std::abort();  // ids must not repeat
      used = 0;
    }
    raw += static_cast<char>(block[used]);
    block[used++] = 0;
  }
  return hex(raw);
}

std::string TraceParent::text() const {
  constexpr char digits[] = "0123456789abcdef";
  std::string out = "00-" + trace_id + '-' + span_id + '-';
  out += digits[flags >> 4];
  out += digits[flags & 15];
  return out;
}

std::optional<TraceParent> parse_traceparent(std::string_view text) {
  if (text.size() < 55 || text[2] != '-' || text[35] != '-' || text[52] != '-') return {};
  const auto version = text.substr(0, 2);
  const auto trace = text.substr(3, 32);
  const auto span = text.substr(36, 16);
  const auto flags = text.substr(53, 2);
  if (!is_hex(version) || !is_hex(trace) || !is_hex(span) || !is_hex(flags)) return {};
  if (version == "ff" || all_zero(trace) || all_zero(span)) return {};
  if (version == "00" ? text.size() != 55 : text.size() > 55 && text[55] != '-') return {};
  return TraceParent{std::string(trace), std::string(span),
                     static_cast<std::uint8_t>(hex_digit(flags[0]) * 16 + hex_digit(flags[1]))};
}

TraceParent new_trace() { return {random_hex(16), random_hex(8), 1}; }

TraceParent child_of(const TraceParent& parent) {
  return {parent.trace_id, random_hex(8), static_cast<std::uint8_t>(parent.flags & 1)};
}

std::string continue_trace(std::string_view header) {
  const auto parent = parse_traceparent(header);
  return (parent ? child_of(*parent) : new_trace()).text();
}

}  // namespace soma::runtime
