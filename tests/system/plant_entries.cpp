// Writes into a stopped node's log what a node can hardly be brought to write on demand:
//   plant_entries LOG_FOLDER call ACTOR_ID CALL_ID   a counter's call under way, of class
//   at-most-once plant_entries LOG_FOLDER parked ACTOR_ID add|explode   a command that an older
//   build parked plant_entries LOG_FOLDER gap ACTOR_ID CALL_ID   such a call as event 2 without 1
// The counter is demo/counter/ACTOR_ID, and is new.
#include <future>
#include <iostream>

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

Status append(events::Log& log, PartitionId partition, v1::Frame frame) {
  events::FrameReader reader(log, partition);
  for (;;) {
    auto batch = reader.next();
    if (!batch) return tl::unexpected(batch.error());
    if (batch->empty()) break;
  }
  v1::Claim claim;
  claim.set_node_id("planter");
  auto writer = events::FrameWriter::claim(log, reader, claim, 1, [](const auto&) {});
  if (!writer) return tl::unexpected(writer.error());
  std::promise<Status> done;
  (*writer)->append(std::move(frame), [&](const events::FrameWriter::Outcome& o) {
    done.set_value(o.valid ? Status{} : tl::unexpected(o.error));
  });
  return done.get_future().get();
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc == 5 ? argv[2] : "";
  if (what != "call" && what != "parked" && what != "gap")
    return std::cerr
               << "usage: plant_entries LOG_FOLDER call|parked|gap ACTOR_ID CALL_ID|add|explode\n",
           2;
  events::EmbeddedOptions options;
  options.folder = argv[1];
  auto log = events::open_embedded_log(std::move(options));
  if (!log) return std::cerr << log.error().message << "\n", 1;
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
