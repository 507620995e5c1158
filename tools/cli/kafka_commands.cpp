// soma kafka: topics, how far their readers are, and what is in them. Asks the brokers, not a node.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <fstream>
#include <functional>
#include <iterator>

#include "actors/actor_type.h"
#include "events/frames.h"
#include "events/kafka/topic_clients.h"
#include "events/kafka/topic_viewer.h"
#include "runtime/api/journal_views.h"
#include "runtime/http/text.h"
#include "runtime/integration/integration.h"
#include "runtime/node/journal.h"
#include "schemas/base/base64.h"
#include "schemas/base/sha256.h"
#include "schemas/json/json_read.h"
#include "tools/cli/filter.h"
#include "tools/cli/verbs.h"

namespace soma::cli {

namespace json = boost::json;
namespace integration = runtime::integration;

namespace {

struct Flags {
  std::string topic;
  bool decode = false;
};

// Brokers as named, or as set for a node here, or those of the node that serves the folder.
Result<events::KafkaOptions> cluster(const Context& c) {
  runtime::config::FlagValues flags;
  if (!c.kafka.empty()) flags["--kafka"] = c.kafka;
  if (!c.kafka_topic_prefix.empty()) flags["--kafka-topic-prefix"] = c.kafka_topic_prefix;
  auto config = runtime::config::load_config(flags);
  if (!config) return tl::unexpected(config.error());
  if (config->kafka_brokers.empty()) {
    std::ifstream in(c.folder() + "/run/endpoints.json");
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    if (const auto endpoints = read_json(text))
      config->kafka_brokers = text_of(*endpoints, "kafka");
  }
  if (config->kafka_brokers.empty())
    return soma::fail(Code::kInvalidArgument,
                      "no brokers were named and no node on Kafka serves " + c.folder(),
                      "kafka.brokers");
  return runtime::kafka_options(*config);
}

const char* role_of(const std::string& name) {
  if (name == "soma.events") return "journal";
  if (name.ends_with(".dlq")) return "dead letters";
  for (const auto& topic : integration::inbound_topics())
    if (topic.name == name) return name == "soma.commands" ? "in" : "in, out";
  return "out";
}

// Without prefix: the journal first.
std::vector<std::string> all_topics() {
  std::vector<std::string> out{"soma.events"};
  for (const auto& wish : integration::topic_wishes("", 1)) out.push_back(wish.name);
  return out;
}

Result<json::array> topics(const events::KafkaOptions& o) {
  auto viewer = events::open_topic_viewer(o);
  if (!viewer) return tl::unexpected(viewer.error());
  json::array out;
  for (const auto& name : all_topics()) {
    const std::string topic = o.topic_prefix + name;
    auto facts = (*viewer)->facts(topic);
    if (!facts) return tl::unexpected(facts.error());
    std::uint64_t records = 0;
    for (std::uint32_t p = 0; p < facts->partitions; ++p) {
      auto span = (*viewer)->span(topic, PartitionId{p});
      if (!span) return tl::unexpected(span.error());
      records += span->end.value - span->first.value;
    }
    out.push_back(json::object{{"topic", topic},
                               {"role", role_of(name)},
                               {"exists", facts->exists},
                               {"partitions", facts->partitions},
                               {"replication", facts->replication},
                               {"records", records}});
  }
  return out;
}

Status lag_of(events::TopicViewer& viewer, const events::KafkaOptions& o, const std::string& group,
              const std::string& topic, json::array& out) {
  auto facts = viewer.facts(topic);
  if (!facts) return tl::unexpected(facts.error());
  auto cursors = events::open_topic_cursors(o, group);
  if (!cursors) return tl::unexpected(cursors.error());
  for (std::uint32_t p = 0; p < facts->partitions; ++p) {
    auto span = viewer.span(topic, PartitionId{p});
    if (!span) return tl::unexpected(span.error());
    auto cursor = (*cursors)->load(topic, PartitionId{p});
    if (!cursor) return tl::unexpected(cursor.error());
    const std::uint64_t next = *cursor ? (*cursor)->next.value : span->first.value;
    out.push_back(json::object{{"group", group},
                               {"topic", topic},
                               {"partition", p},
                               {"next", *cursor ? json::value(next) : json::value(nullptr)},
                               {"end", span->end.value},
                               {"lag", span->end.value > next ? span->end.value - next : 0}});
  }
  return {};
}

Result<json::array> lag(const events::KafkaOptions& o) {
  auto viewer = events::open_topic_viewer(o);
  if (!viewer) return tl::unexpected(viewer.error());
  json::array out;
  if (auto ok = lag_of(**viewer, o, integration::publisher_group(o.topic_prefix),
                       o.topic_prefix + "soma.events", out);
      !ok)
    return tl::unexpected(ok.error());
  for (const auto& topic : integration::inbound_topics())
    if (auto ok = lag_of(**viewer, o, integration::inbox_group(o.topic_prefix),
                         o.topic_prefix + std::string(topic.name), out);
        !ok)
      return tl::unexpected(ok.error());
  return out;
}

json::value bytes_shown(const std::string& bytes) {
  if (runtime::http::valid_utf8(bytes)) return json::value(bytes);
  return json::object{{"base64", base64(bytes)}};
}

json::value decoded(const events::TopicRecord& record, bool journal) {
  if (journal) {
    auto frame = events::decode_frame(record.value);
    if (!frame) return bytes_shown(record.value);
    static const auto catalog = actors::standard_catalog();
    return runtime::views::frame(
        *catalog, {{record.partition, record.offset}, *frame, sha256(record.value)}, nullptr);
  }
  auto value = read_json(record.value);
  return value ? std::move(*value) : bytes_shown(record.value);
}

json::object record_view(const events::TopicRecord& record, bool decode, bool journal) {
  json::object headers;
  for (const auto& [name, value] : record.headers)
    headers[name] = name == "ce_somatoken" ? json::value("***") : bytes_shown(value);
  const auto* type = headers.if_contains("ce_type");
  json::object out{{"partition", record.partition.value},
                   {"offset", record.offset.value},
                   {"type", type ? *type : json::value(nullptr)},
                   {"key", bytes_shown(record.key)},
                   {"bytes", record.value.size()},
                   {"headers", std::move(headers)}};
  if (decode) out["value"] = decoded(record, journal);
  return out;
}

Result<json::array> peek(const events::KafkaOptions& o, const Flags& f, std::size_t limit) {
  const bool prefixed = f.topic.starts_with(o.topic_prefix);
  const std::string topic = prefixed ? f.topic : o.topic_prefix + f.topic;
  const bool journal = topic == o.topic_prefix + "soma.events";
  auto viewer = events::open_topic_viewer(o);
  if (!viewer) return tl::unexpected(viewer.error());
  auto facts = (*viewer)->facts(topic);
  if (!facts) return tl::unexpected(facts.error());
  if (!facts->exists) return soma::fail(Code::kNotFound, "there is no topic " + topic);
  json::array out;
  for (std::uint32_t p = 0; p < facts->partitions; ++p) {
    auto records = (*viewer)->newest(topic, PartitionId{p}, limit);
    if (!records) return tl::unexpected(records.error());
    for (const auto& record : *records) out.push_back(record_view(record, f.decode, journal));
  }
  return out;
}

int print(const Context& c, const Result<json::array>& rows,
          const std::vector<std::string>& columns, const std::vector<std::string>& wide = {}) {
  if (!rows) return c.fail(rows.error());
  c.print_list(*rows, columns, wide);
  return 0;
}

// The same by --filter, --limit and --cursor, which is how many rows come before. The brokers are
// asked only when these are good.
int print_page(const Context& c, const std::function<Result<json::array>()>& ask,
               const std::vector<std::string>& columns, const std::vector<std::string>& wide = {}) {
  auto wanted = Filter::parse(c.filters);
  if (!wanted) return c.fail(wanted.error());
  std::size_t from = 0;
  const auto* end = c.cursor.data() + c.cursor.size();
  const auto read = std::from_chars(c.cursor.data(), end, from);
  if (!c.cursor.empty() && (read.ec != std::errc{} || read.ptr != end))
    return c.fail({Code::kInvalidArgument,
                   "--cursor takes the number that the last list ended with", "--cursor"});
  const auto rows = ask();
  if (!rows) return c.fail(rows.error());
  json::array page;
  std::size_t at = 0, left = 0;
  for (const auto& row : *rows)
    if (wanted->matches(row) && at++ >= from)
      page.size() < static_cast<std::size_t>(c.limit) ? page.push_back(row) : void(++left);
  c.print_list(page, columns, wide);
  if (left > 0 && c.watch_s <= 0) c.note("more: --cursor " + std::to_string(from + page.size()));
  return 0;
}

}  // namespace

void add_kafka_commands(CLI::App& app, Context& context, const Wrap& run) {
  auto f = std::make_shared<Flags>();
  auto* kafka = add_group(app, "kafka", "Topics of a cluster, as the brokers have them");
  add_kafka_options(*kafka, context);
  const auto with = [&context](auto body) {
    auto options = cluster(context);
    return options ? body(*options) : Result<json::array>(tl::unexpected(options.error()));
  };
  auto* list = add_verb(
      *kafka, context, run, "topics", "All topics, and how much is in them", Effect::kRead,
      "soma kafka topics --kafka 127.0.0.1:9092", [&context, with] {
        return print_page(context, [&] { return with([](const auto& o) { return topics(o); }); },
                          {"topic", "role", "partitions", "replication", "records"}, {"exists"});
      });
  add_list_options(*list, context);
  auto* behind = add_verb(
      *kafka, context, run, "lag", "How far public events and commands are taken, by partition",
      Effect::kRead, "soma kafka lag --watch", [&context, with] {
        return print_page(context, [&] { return with([](const auto& o) { return lag(o); }); },
                          {"group", "topic", "partition", "next", "end", "lag"});
      });
  add_list_options(*behind, context);
  auto* look =
      add_verb(*kafka, context, run, "peek", "The newest records of each partition", Effect::kRead,
               "soma kafka peek soma.commands.dlq --decode -o json", [&context, with, f] {
                 const auto rows = with([&](const auto& o) {
                   return peek(o, *f, static_cast<std::size_t>(context.limit));
                 });
                 return print(context, rows, {"partition", "offset", "type", "key", "bytes"},
                              {"headers", "value"});
               });
  look->add_option("topic", f->topic, "With or without the prefix")->required();
  look->add_flag("--decode", f->decode, "Show values: JSON, or frames of the journal");
  look->add_option("--limit", context.limit, "At most so many of a partition (default 50)")
      ->check(CLI::Range(1, 10000))
      ->type_name("N");
}

}  // namespace soma::cli
