// The dead letter and its schema, side by side.
#include "runtime/integration/dead_letter.h"

#include <boost/json/array.hpp>
#include <cctype>

#include "events/kafka/topic_clients.h"
#include "runtime/http/json_strict.h"
#include "runtime/http/text.h"
#include "schemas/base/base64.h"
#include "schemas/base/times.h"
#include "schemas/json/json_text.h"

namespace soma::runtime::integration {

namespace json = boost::json;

namespace {

// Bytes that JSON cannot hold are shown as base64, so that nothing of them is lost.
json::value shown(const std::string& text) {
  if (http::valid_utf8(text)) return json::value(text);
  return json::object{{"base64", base64(text)}};
}

// Of a record whose letter would be larger than a record may be. Even where JSON writes each byte
// as six, what is left of it fits.
constexpr std::size_t kHeadersRoom = 64 << 10;
constexpr std::size_t kValueLeft = 64 << 10;
constexpr std::size_t kKeyLeft = 1 << 10;  // also of a header's name
constexpr std::size_t kHeaderLeft = 16 << 10;
constexpr std::size_t kHeadersLeft = 64;
constexpr std::size_t kLongestMessage = 4 << 10;

// At most `bytes` of it, and no half character where it was text.
std::string cut(const std::string& text, std::size_t bytes) {
  if (text.size() <= bytes) return text;
  std::string out = text.substr(0, bytes);
  for (std::size_t left = bytes; left + 4 > bytes && left > 0; --left)
    if (http::valid_utf8(out.substr(0, left))) return out.substr(0, left);
  return out;
}

bool hide_token(json::value& data) {
  auto* event = data.if_object();
  if (!event || !event->contains("somatoken")) return false;
  (*event)["somatoken"] = "***";
  return true;
}

// Of bytes that are no JSON: whatever looks like a JWT, for nobody can tell which part a token is.
std::string without_tokens(const std::string& bytes) {
  constexpr std::string_view kBegin = "eyJ";  // {" in base64url
  const auto run = [&](std::size_t at) {
    while (at < bytes.size() && (std::isalnum(static_cast<unsigned char>(bytes[at])) ||
                                 bytes[at] == '-' || bytes[at] == '_'))
      ++at;
    return at;
  };
  std::string out;
  std::size_t from = 0;
  for (auto at = bytes.find(kBegin); at != bytes.npos; at = bytes.find(kBegin, at)) {
    const std::size_t header = run(at);
    const std::size_t body =
        header < bytes.size() && bytes[header] == '.' ? run(header + 1) : header;
    const bool token = body > header + 1 && body < bytes.size() && bytes[body] == '.';
    const std::size_t end = token ? run(body + 1) : header;
    if (token) out.append(bytes, from, at - from).append("***"), from = end;
    at = end;
  }
  return out.append(bytes, from);
}

json::object original(const events::TopicRecord& record) {
  json::array headers;
  for (const auto& [name, value] : record.headers)
    headers.push_back(
        json::array{shown(name), name == "ce_somatoken" ? json::value("***") : shown(value)});
  json::object out{{"headers", std::move(headers)}, {"key", shown(record.key)}};
  if (auto data = http::parse_json_strict(record.value)) {
    hide_token(*data);
    out["data"] = std::move(*data);
  } else {
    out["data_base64"] = base64(without_tokens(record.value));
  }
  return out;
}

json::object truncated(const events::TopicRecord& record) {
  json::array headers;
  for (const auto& [name, value] : record.headers) {
    if (headers.size() == kHeadersLeft) break;
    headers.push_back(
        json::array{shown(cut(name, kKeyLeft)),
                    name == "ce_somatoken" ? json::value("***") : shown(cut(value, kHeaderLeft))});
  }
  auto data = http::parse_json_strict(record.value);
  const bool hidden = data && hide_token(*data);
  return {{"headers", std::move(headers)},
          {"key", shown(cut(record.key, kKeyLeft))},
          {"data_base64",
           base64(cut(hidden ? json_text(*data) : without_tokens(record.value), kValueLeft))},
          {"truncated", true},
          {"value_bytes", record.value.size()}};
}

}  // namespace

events::TopicRecord dead_letter(const events::TopicRecord& record, const std::string& topic,
                                const Refusal& refusal, std::int64_t now_ms) {
  const std::string place =
      std::to_string(record.partition.value) + "/" + std::to_string(record.offset.value);
  const auto letter = [&](json::object event) {
    return json_text(json::object{{"original_event", std::move(event)},
                                  {"source_topic", record.topic},
                                  {"source_partition", record.partition.value},
                                  {"source_offset", record.offset.value},
                                  {"error_message", cut(refusal.message, kLongestMessage)},
                                  {"error_type", refusal.type},
                                  {"retry_count", refusal.attempts},
                                  {"timestamp", iso_time(now_ms)}});
  };
  const auto too_large = [](std::size_t key, std::size_t value) {
    return key + value + kHeadersRoom > events::kTopicRecordBytes;
  };
  events::TopicRecord out;
  out.topic = topic;
  out.key = record.key;
  if (!too_large(out.key.size(), record.value.size())) out.value = letter(original(record));
  if (out.value.empty() || too_large(out.key.size(), out.value.size())) {
    out.key = cut(record.key, kKeyLeft);
    out.value = letter(truncated(record));
  }
  out.headers = {{"ce_specversion", "1.0"},     {"ce_id", record.topic + "/" + place},
                 {"ce_type", "dead_letter"},    {"ce_source", "/soma/" + record.topic},
                 {"ce_time", iso_time(now_ms)}, {"content-type", "application/json"}};
  return out;
}

json::object dead_letter_schema() {
  const json::object text{{"type", "string"}}, number{{"type", "integer"}};
  const json::object maybe_bytes{{"type", json::array{"string", "object"}}};
  return {
      {"type", "object"},
      {"properties",
       json::object{
           {"original_event",
            json::object{
                {"type", "object"},
                {"properties",
                 json::object{{"headers", json::object{{"type", "array"},
                                                       {"items", json::object{{"type", "array"}}}}},
                              {"key", maybe_bytes},
                              {"data", json::object{}},
                              {"data_base64", text},
                              {"truncated", json::object{{"type", "boolean"}}},
                              {"value_bytes", number}}},
                {"required", json::array{"headers", "key"}}}},
           {"source_topic", text},
           {"source_partition", number},
           {"source_offset", number},
           {"error_message", text},
           {"error_type", text},
           {"retry_count", number},
           {"timestamp", text}}},
      {"required",
       json::array{"original_event", "source_topic", "source_partition", "source_offset",
                   "error_message", "error_type", "retry_count", "timestamp"}}};
}

}  // namespace soma::runtime::integration
