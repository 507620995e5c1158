// verify, replay, log, actor: on a data folder, running or stopped; they only read.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <iostream>
#include <map>

#include "actors/actor_type.h"
#include "events/embedded/embedded_log.h"
#include "events/frames.h"
#include "runtime/node/journal.h"
#include "schemas/json/json_view.h"
#include "tools/cli/commands.h"
#include "tools/offline/verify.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

Result<std::unique_ptr<events::Log>> open_log(const Context& c) {
  if (c.kafka.empty()) return events::open_embedded_log_readonly(c.folder() + "/log");
  runtime::config::FlagValues flags{{"--kafka", c.kafka}};
  if (!c.kafka_topic_prefix.empty()) flags["--kafka-topic-prefix"] = c.kafka_topic_prefix;
  auto config = runtime::config::load_config(flags);
  if (!config) return tl::unexpected(config.error());
  return runtime::open_journal_readonly(*config);
}

// Every valid frame in order of partition and offset, until `visit` says false.
Status each_frame(const events::Log& log,
                  const std::function<bool(const events::ValidFrame&)>& visit) {
  for (std::uint32_t p = 0; p < log.partition_count(); ++p) {
    events::FrameReader reader(log, PartitionId{p});
    for (;;) {
      auto batch = reader.next();
      if (!batch) return tl::unexpected(batch.error());
      if (batch->empty()) break;
      for (const auto& frame : *batch)
        if (!visit(frame)) return {};
    }
  }
  return {};
}

// The frame with commands and events decoded by their actor types.
json::value decoded(const events::ValidFrame& f, const actors::Catalog& catalog) {
  json::array entries;
  for (const auto& e : f.frame->entries()) {
    const auto* type = catalog.find(e.actor().type());
    json::object entry{{"actor", to_string(actors::to_key(e.actor()))},
                       {"context", json_of(e.context())}};
    if (type) {
      auto command = type->new_command();
      if (command->ParseFromString(e.command())) entry["command"] = json_of(*command);
      json::array events;
      for (const auto& recorded : e.events()) {
        auto event = type->new_event();
        event->ParseFromString(recorded.payload());
        events.push_back({{"sequence", recorded.sequence()},
                          {"type", recorded.type()},
                          {"event_id", recorded.event_id()},
                          {"data", json_of(*event)}});
      }
      entry["events"] = std::move(events);
    }
    if (!e.rejected().empty()) entry["rejected"] = e.rejected();
    if (!e.parked().empty()) entry["parked"] = e.parked();
    entries.push_back(std::move(entry));
  }
  json::object out{{"position", to_string(f.position)},
                   {"epoch", f.frame->epoch()},
                   {"number", f.frame->number()},
                   {"time_ms", f.frame->time_ms()},
                   {"entries", std::move(entries)}};
  if (f.frame->has_claim()) out["claim"] = json_of(f.frame->claim());
  return out;
}

int log_stat(const Context& c) {
  auto log = open_log(c);
  if (!log) return c.fail(log.error());
  json::array items;
  for (std::uint32_t p = 0; p < (*log)->partition_count(); ++p)
    items.push_back({{"partition", p}, {"records", (*log)->end(PartitionId{p}).value}});
  c.print_list(items, {"partition", "records"});
  return 0;
}

int log_get(const Context& c, const std::string& text) {
  const auto position = parse_position(text);
  if (!position)
    return c.fail({Code::kInvalidArgument, "a position is PARTITION/OFFSET, as 3/17", "position"});
  auto log = open_log(c);
  if (!log) return c.fail(log.error());
  if (position->partition.value >= (*log)->partition_count())
    return c.fail({Code::kNotFound, "no such partition", "position"});
  auto frame = events::read_frame_at(**log, *position);
  if (!frame) return c.fail(frame.error());
  c.print(decoded(*frame, *actors::standard_catalog()));
  return 0;
}

int log_tail(const Context& c, std::size_t limit) {
  auto log = open_log(c);
  if (!log) return c.fail(log.error());
  std::multimap<std::int64_t, events::ValidFrame> last;
  auto ok = each_frame(**log, [&](const events::ValidFrame& f) {
    last.emplace(f.frame->time_ms(), f);
    if (last.size() > limit) last.erase(last.begin());
    return true;
  });
  if (!ok) return c.fail(ok.error());
  auto catalog = actors::standard_catalog();
  for (const auto& [time, frame] : last) c.print(decoded(frame, *catalog));
  return 0;
}

Result<ActorKey> parse_actor(const std::string& text) {
  const auto a = text.find('/'), b = text.find('/', a == std::string::npos ? a : a + 1);
  if (a == std::string::npos || b == std::string::npos)
    return tl::unexpected(Error{Code::kInvalidArgument, "an actor is TENANT/TYPE/ID", "actor"});
  return ActorKey{text.substr(0, a), text.substr(a + 1, b - a - 1), text.substr(b + 1), {}};
}

int actor_list(const Context& c, const std::string& type) {
  auto log = open_log(c);
  if (!log) return c.fail(log.error());
  std::map<ActorKey, std::uint64_t> actors;
  auto ok = each_frame(**log, [&](const events::ValidFrame& f) {
    for (const auto& t : f.frame->touched())
      if (type.empty() || t.actor().type() == type) actors[actors::to_key(t.actor())] += t.events();
    return true;
  });
  if (!ok) return c.fail(ok.error());
  json::array items;
  for (const auto& [key, events] : actors)
    items.push_back({{"actor", to_string(key)}, {"type", key.type}, {"events", events}});
  c.print_list(items, {"actor", "type", "events"});
  return 0;
}

// Its events, or its state as they make it, up to sequence `at` (0: all).
int actor_fold(const Context& c, const std::string& text, std::uint64_t at, bool history) {
  auto key = parse_actor(text);
  if (!key) return c.fail(key.error());
  auto catalog = actors::standard_catalog();
  const auto* type = catalog->find(key->type);
  if (!type) return c.fail({Code::kNotFound, "unknown actor type " + key->type, "actor"});
  auto log = open_log(c);
  if (!log) return c.fail(log.error());
  auto state = type->new_state();
  std::uint64_t sequence = 0;
  json::array items;
  auto ok = each_frame(**log, [&](const events::ValidFrame& f) {
    for (const auto& e : f.frame->entries()) {
      if (!(actors::to_key(e.actor()) == *key)) continue;
      for (const auto& recorded : e.events()) {
        if (at != 0 && recorded.sequence() > at) return false;
        auto event = type->new_event();
        event->ParseFromString(recorded.payload());
        type->evolve(*state, *event);
        sequence = recorded.sequence();
        if (history)
          items.push_back({{"sequence", sequence},
                           {"type", recorded.type()},
                           {"time_ms", e.context().now_ms()},
                           {"position", to_string(f.position)},
                           {"principal", e.context().principal().subject()},
                           {"command_id", e.context().command_id()},
                           {"data", json_of(*event)}});
      }
    }
    return true;
  });
  if (!ok) return c.fail(ok.error());
  if (sequence == 0) return c.fail({Code::kNotFound, "no events of " + text, "actor"});
  if (history)
    c.print_list(items, {"sequence", "type", "time_ms", "position", "principal"});
  else
    c.print(json::object{{"actor", text}, {"sequence", sequence}, {"state", json_of(*state)}});
  return 0;
}

int verify_source(const Context& c, bool deep) {
  if (c.kafka.empty()) return verify_folder(c, c.folder(), deep);
  auto log = open_log(c);
  return log ? verify_log(c, **log, deep) : c.fail(log.error());
}

void add_kafka_options(CLI::App& command, Context& context) {
  command.add_option("--kafka", context.kafka, "Read the journal of these brokers, HOST:PORT,…");
  command.add_option("--kafka-topic-prefix", context.kafka_topic_prefix);
}

}  // namespace

void add_offline_commands(CLI::App& app, Context& context, const Wrap& run) {
  auto deep = std::make_shared<bool>(false);
  auto* verify =
      app.add_subcommand("verify", "Check order, fence, sequences and chain; --deep decides again");
  verify->footer("Example: soma verify --deep --data-dir .soma");
  verify->add_flag("--deep", *deep);
  add_kafka_options(*verify, context);
  verify->callback(run([&context, deep] { return verify_source(context, *deep); }));
  auto* replay = app.add_subcommand(
      "replay", "Decide and fold the whole log again and compare with what is recorded");
  add_kafka_options(*replay, context);
  replay->callback(run([&context] { return verify_source(context, true); }));
  auto* log = app.add_subcommand("log", "The journal")->require_subcommand(1);
  add_kafka_options(*log, context);
  log->add_subcommand("stat", "Records per partition")->callback(run([&context] {
    return log_stat(context);
  }));
  auto text = std::make_shared<std::string>();
  auto* get = log->add_subcommand("get", "One frame, decoded");
  get->add_option("position", *text, "PARTITION/OFFSET")->required();
  get->callback(run([&context, text] { return log_get(context, *text); }));
  auto limit = std::make_shared<std::size_t>(10);
  auto* tail = log->add_subcommand("tail", "The newest frames, decoded");
  tail->add_option("--limit", *limit)->check(CLI::Range(1, 1000));
  tail->callback(run([&context, limit] { return log_tail(context, *limit); }));
  auto* actor = app.add_subcommand("actor", "Any actor, by reflection")->require_subcommand(1);
  add_kafka_options(*actor, context);
  actor->add_subcommand("types", "Actor types of this build")->callback(run([&context] {
    auto catalog = actors::standard_catalog();
    json::array items;
    for (const auto* type : catalog->all())
      items.push_back(
          {{"type", std::string(type->name())}, {"schema", type->schema_hash().substr(0, 16)}});
    context.print_list(items, {"type", "schema"});
    return 0;
  }));
  auto type = std::make_shared<std::string>();
  auto* list = actor->add_subcommand("list", "Actors in the log");
  list->add_option("--type", *type);
  list->callback(run([&context, type] { return actor_list(context, *type); }));
  auto at = std::make_shared<std::uint64_t>(0);
  for (const char* name : {"state", "show", "history"}) {
    auto* c = actor->add_subcommand(
        name, name == std::string("history") ? "An actor's events" : "An actor's state");
    c->add_option("actor", *text, "TENANT/TYPE/ID")->required();
    c->add_option("--at", *at, "Up to this sequence");
    c->callback(run([&context, text, at, history = name == std::string("history")] {
      return actor_fold(context, *text, *at, history);
    }));
  }
}

}  // namespace soma::cli
