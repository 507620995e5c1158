// The dead letter and its schema, side by side.
#include "runtime/integration/dead_letter.h"

#include <boost/json/array.hpp>

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

json::object original(const events::TopicRecord& record) {
  json::array headers;
  for (const auto& [name, value] : record.headers)
    headers.push_back(
        json::array{shown(name), name == "ce_somatoken" ? json::value("***") : shown(value)});
  json::object out{{"headers", std::move(headers)}, {"key", shown(record.key)}};
  if (auto data = http::parse_json_strict(record.value)) {
    if (auto* event = data->if_object(); event && event->contains("somatoken"))
      (*event)["somatoken"] = "***";
    out["data"] = std::move(*data);
  } else {
    out["data_base64"] = base64(record.value);
  }
  return out;
}

}  // namespace

events::TopicRecord dead_letter(const events::TopicRecord& record, const std::string& topic,
                                const Refusal& refusal, std::int64_t now_ms) {
  const std::string place =
      std::to_string(record.partition.value) + "/" + std::to_string(record.offset.value);
  events::TopicRecord out;
  out.topic = topic;
  out.key = record.key;
  out.value = json_text(json::object{{"original_event", original(record)},
                                     {"source_topic", record.topic},
                                     {"source_partition", record.partition.value},
                                     {"source_offset", record.offset.value},
                                     {"error_message", refusal.message},
                                     {"error_type", refusal.type},
                                     {"retry_count", refusal.attempts},
                                     {"timestamp", iso_time(now_ms)}});
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
                              {"data_base64", text}}},
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
