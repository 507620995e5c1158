// Writes into a stopped node's log what a node can hardly be brought to write on demand:
//   plant_entries LOG_FOLDER call ACTOR_ID CALL_ID
//     a counter's call under way, of class at-most-once
//   plant_entries LOG_FOLDER parked ACTOR_ID add|explode
//     a command that an older build parked
//   plant_entries LOG_FOLDER gap ACTOR_ID CALL_ID
//     such a call as event 2 without 1
//   plant_entries LOG_FOLDER adds PREFIX COUNT
//     COUNT commands, decided, of the counters PREFIX-0 to PREFIX-399: a long journal
// The counter is demo/counter/ACTOR_ID, and is new.
#include <algorithm>
#include <cstdlib>
#include <future>
#include <iostream>
#include <vector>

#include "actors/actor_type.h"
#include "events/embedded/embedded_log.h"
#include "events/frames.h"
#include "soma/v1/counter.pb.h"

namespace {

using namespace soma;

v1::Frame frame_of(const ActorKey& key, const v1::CounterCommand& command,
                   const std::string& parked, std::uint64_t sequence) {
  v1::Frame frame;
  frame.set_time_ms(1'760'000'000'000);
  auto* entry = frame.add_entries();
  *entry->mutable_actor() = actors::to_ref(key);
  entry->mutable_context()->set_now_ms(frame.time_ms());
  entry->mutable_context()->set_command_id("demo:planted-" + key.id);
  entry->mutable_context()->mutable_principal()->set_subject("ana");
  entry->mutable_context()->mutable_principal()->set_tenant("demo");
  entry->set_command(command.SerializeAsString());
  auto* touched = frame.add_touched();
  *touched->mutable_actor() = entry->actor();
  if (!parked.empty()) {
    entry->mutable_context()->set_causation_id("evt_of_another");
    entry->set_parked(parked);
    return frame;
  }
  v1::CounterEvent event;
  event.mutable_call_placed()->set_call_id(command.call_out().call_id());
  auto* recorded = entry->add_events();
  recorded->set_event_id("evt_planted_" + key.id);
  recorded->set_sequence(sequence);
  recorded->set_type("counter.call.placed");
  recorded->set_payload(event.SerializeAsString());
  entry->set_reply(actors::deterministic_bytes(v1::CounterReply()));
  touched->set_events(1);
  touched->set_first_sequence(sequence);
  return frame;
}

using Writer = std::unique_ptr<events::FrameWriter>;

Result<Writer> claim(events::Log& log, PartitionId partition) {
  events::FrameReader reader(log, partition);
  for (;;) {
    auto batch = reader.next();
    if (!batch) return tl::unexpected(batch.error());
    if (batch->empty()) break;
  }
  v1::Claim claim;
  claim.set_node_id("planter");
  return events::FrameWriter::claim(log, reader, claim, 1, [](const auto&) {});
}

Status append(events::FrameWriter& writer, v1::Frame frame) {
  std::promise<Status> done;
  writer.append(std::move(frame), [&](const events::FrameWriter::Outcome& o) {
    done.set_value(o.valid ? Status{} : tl::unexpected(o.error));
  });
  return done.get_future().get();
}

Status append(events::Log& log, PartitionId partition, v1::Frame frame) {
  auto writer = claim(log, partition);
  if (!writer) return tl::unexpected(writer.error());
  return append(**writer, std::move(frame));
}

struct Counter {
  ActorKey key;
  std::unique_ptr<actors::Message> state;
  std::uint64_t sequence = 0;
};

// Decided on the counter's state, which goes on.
Status add_entry(const actors::ActorType& type, Counter& counter, std::size_t number,
                 v1::Frame& frame) {
  v1::CounterCommand command;
  command.mutable_add()->set_amount(static_cast<std::int64_t>(number % 7) + 1);
  auto* entry = frame.add_entries();
  *entry->mutable_actor() = actors::to_ref(counter.key);
  auto& context = *entry->mutable_context();
  context.set_now_ms(frame.time_ms());
  context.set_command_id("demo:many-" + std::to_string(number));
  context.mutable_principal()->set_subject("ana");
  context.mutable_principal()->set_tenant("demo");
  entry->set_command(command.SerializeAsString());
  auto decided = type.decide(counter.key, *counter.state, command, context);
  if (!decided) return tl::unexpected(decided.error());
  entry->set_reply(decided->reply);
  auto* touched = frame.add_touched();
  *touched->mutable_actor() = entry->actor();
  touched->set_first_sequence(counter.sequence + 1);
  touched->set_events(static_cast<std::uint32_t>(decided->events.size()));
  for (const auto& event : decided->events) {
    type.evolve(*counter.state, *event);
    auto* recorded = entry->add_events();
    recorded->set_event_id("evt_" + counter.key.id + "_" + std::to_string(++counter.sequence));
    recorded->set_sequence(counter.sequence);
    recorded->set_type(type.event_type(*event));
    recorded->set_payload(actors::deterministic_bytes(*event));
  }
  return {};
}

Status append_adds(events::Log& log, const std::string& prefix, std::size_t count) {
  constexpr std::size_t kCounters = 400, kInFrame = 100;
  const auto catalog = actors::standard_catalog();
  const auto& type = *catalog->find("counter");
  for (std::uint32_t p = 0; p < log.partition_count(); ++p) {
    std::vector<Counter> here;
    for (std::size_t i = 0; i < kCounters; ++i) {
      const ActorKey key{"demo", "counter", prefix + "-" + std::to_string(i), {}};
      if (partition_of(key, log.partition_count()).value == p)
        here.push_back({key, type.new_state(), 0});
    }
    auto writer = claim(log, PartitionId{p});
    if (!writer) return tl::unexpected(writer.error());
    const std::size_t share = here.empty() ? 0 : count * here.size() / kCounters;
    for (std::size_t n = 0; n < share;) {
      v1::Frame frame;
      frame.set_time_ms(1'760'000'000'000 + static_cast<std::int64_t>(n));
      for (const std::size_t until = std::min(share, n + kInFrame); n < until; ++n)
        if (auto ok = add_entry(type, here[n % here.size()], n * log.partition_count() + p, frame);
            !ok)
          return ok;
      if (auto ok = append(**writer, std::move(frame)); !ok) return ok;
    }
  }
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc == 5 ? argv[2] : "";
  if (what != "call" && what != "parked" && what != "gap" && what != "adds")
    return std::cerr << "usage: plant_entries LOG_FOLDER call|parked|gap|adds ACTOR_ID "
                        "CALL_ID|add|explode|COUNT\n",
           2;
  events::EmbeddedOptions options;
  options.folder = argv[1];
  auto log = events::open_embedded_log(std::move(options));
  if (!log) return std::cerr << log.error().message << "\n", 1;
  if (what == "adds") {
    if (auto ok = append_adds(**log, argv[3], std::strtoul(argv[4], nullptr, 10)); !ok)
      return std::cerr << ok.error().message << "\n", 1;
    return 0;
  }
  const ActorKey key{"demo", "counter", argv[3], {}};
  v1::CounterCommand command;
  if (what != "parked")
    command.mutable_call_out()->set_call_id(argv[4]);
  else if (std::string(argv[4]) == "explode")
    command.mutable_explode();
  else
    command.mutable_add()->set_amount(5);
  const auto ok = append(**log, partition_of(key, (*log)->partition_count()),
                         frame_of(key, command, what == "parked" ? "an older build could not" : "",
                                  what == "gap" ? 2 : 1));
  if (!ok) return std::cerr << ok.error().message << "\n", 1;
  return 0;
}
