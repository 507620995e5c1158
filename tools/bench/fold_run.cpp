// Folding a log as fast as one core can.
#include <filesystem>
#include <future>
#include <memory>
#include <unordered_map>

#include "events/frames.h"
#include "soma/v1/counter.pb.h"
#include "tools/bench/host_runs.h"
#include "tools/bench/servers.h"
#include "tools/bench/stack.h"

namespace soma::bench {

namespace {

constexpr std::size_t kActors = 1000, kEntriesPerFrame = 100;

// One frame of additions, as the host records them.
v1::Frame frame_of(std::size_t first, std::vector<std::uint64_t>& sequences) {
  v1::Frame frame;
  for (std::size_t i = 0; i < kEntriesPerFrame; ++i) {
    const std::size_t actor = (first + i) % kActors;
    auto* entry = frame.add_entries();
    entry->mutable_actor()->set_tenant("demo");
    entry->mutable_actor()->set_type("counter");
    entry->mutable_actor()->set_id("c" + std::to_string(actor));
    entry->mutable_context()->set_command_id("demo:" + std::to_string(first + i));
    entry->mutable_context()->set_now_ms(1);
    v1::CounterEvent event;
    event.mutable_added()->set_amount(1);
    auto* recorded = entry->add_events();
    recorded->set_sequence(++sequences[actor]);
    recorded->set_event_id("evt_" + std::to_string(first + i) + "_0123456789abcdef");
    recorded->set_type("counter.added");
    recorded->set_payload(event.SerializeAsString());
  }
  return frame;
}

Status write_log(events::Log& log, std::size_t count) {
  events::FrameReader reader(log, PartitionId{0});
  auto writer = events::FrameWriter::claim(log, reader, {}, 1, {});
  if (!writer) return tl::unexpected(writer.error());
  std::vector<std::uint64_t> sequences(kActors);
  for (std::size_t at = 0; at < count; at += kEntriesPerFrame) {
    std::promise<events::FrameWriter::Outcome> done;
    (*writer)->append(frame_of(at, sequences), [&](const auto& o) { done.set_value(o); });
    if (const auto o = done.get_future().get(); !o.valid) return tl::unexpected(o.error);
  }
  return {};
}

// All counters' sum, which says that every event was folded once.
Result<std::int64_t> fold(const events::Log& log, const actors::ActorType& type) {
  std::unordered_map<ActorKey, std::unique_ptr<actors::Message>> states;
  const auto event = type.new_event();
  events::FrameReader reader(log, PartitionId{0});
  for (;;) {
    auto frames = reader.next();
    if (!frames) return tl::unexpected(frames.error());
    if (frames->empty()) break;
    for (const auto& frame : *frames)
      for (const auto& entry : frame.frame->entries()) {
        auto& state = states[actors::to_key(entry.actor())];
        if (!state) state = type.new_state();
        for (const auto& recorded : entry.events()) {
          if (!event->ParseFromString(recorded.payload()))
            return fail(Code::kCorrupt, "an event does not parse");
          type.evolve(*state, *event);
        }
      }
  }
  std::int64_t sum = 0;
  for (const auto& [key, state] : states)
    sum += static_cast<const v1::CounterState&>(*state).value();
  return sum;
}

}  // namespace

Result<FoldRun> run_fold(const Options& options) {
  DataFolder folder(options.folder);
  if (!folder.ok()) return tl::unexpected(folder.error());
  FoldRun out;
  out.events = options.amount / kEntriesPerFrame * kEntriesPerFrame;
  events::EmbeddedOptions o;
  o.folder = folder.path() + "/log";
  o.partition_count = 1;
  auto log = events::open_embedded_log(std::move(o));
  if (!log) return tl::unexpected(log.error());
  if (auto ok = write_log(**log, out.events); !ok) return tl::unexpected(ok.error());
  const auto catalog = actors::standard_catalog();
  const auto profile = profile_of_this(options);
  const auto began = Clock::now();
  const double cpu = cpu_seconds();
  auto sum = fold(**log, *catalog->find("counter"));
  out.seconds = ms_since(began) / 1000;
  out.cpu_s = cpu_seconds() - cpu;
  out.rss_mb = usage_of({::getpid()}).rss_mb;
  if (!sum) return tl::unexpected(sum.error());
  if (*sum != static_cast<std::int64_t>(out.events))
    return fail(Code::kInternal, "the fold lost or doubled events");
  return out;
}

}  // namespace soma::bench
