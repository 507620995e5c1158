// B6: how fast one core folds a log: read, judged by the fence, parsed, evolved.
#include <boost/json/serialize.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <unordered_map>

#include "actors/actor_type.h"
#include "events/embedded/embedded_log.h"
#include "events/frames.h"
#include "soma/v1/counter.pb.h"
#include "tools/bench/child.h"
#include "tools/bench/figures.h"

namespace soma {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kActors = 1000, kEntriesPerFrame = 100;

double since(Clock::time_point from) {
  return std::chrono::duration<double>(Clock::now() - from).count();
}

int fail_with(const Error& error) {
  std::fprintf(stderr, "fold_bench: %s\n", error.message.c_str());
  return 1;
}

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

int run(std::size_t count) {
  auto folder = bench::make_data_folder("");
  if (!folder) return fail_with(folder.error());
  events::EmbeddedOptions o;
  o.folder = *folder + "/log";
  o.partition_count = 1;
  auto log = events::open_embedded_log(std::move(o));
  if (!log) return fail_with(log.error());
  if (auto ok = write_log(**log, count); !ok) return fail_with(ok.error());
  const auto catalog = actors::standard_catalog();
  const auto began = Clock::now();
  const auto cpu = std::clock();
  auto sum = fold(**log, *catalog->find("counter"));
  const double seconds = since(began);
  const double cpu_s = static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC;
  if (!sum) return fail_with(sum.error());
  log->reset();
  std::filesystem::remove_all(*folder);
  if (*sum != static_cast<std::int64_t>(count))
    return fail_with({Code::kInternal, "the fold lost or doubled events", {}});
  const double n = static_cast<double>(count);
  std::printf("%s\n",
              boost::json::serialize(
                  boost::json::object{{"bench", "fold"},
                                      {"machine", bench::machine()},
                                      {"events", count},
                                      {"events_per_s", static_cast<std::int64_t>(n / seconds)},
                                      {"events_per_core_s", static_cast<std::int64_t>(n / cpu_s)}})
                  .c_str());
  std::fprintf(stderr, "GATE B6 %.0f 1000000 %s\n", n / cpu_s, n / cpu_s >= 1e6 ? "PASS" : "FAIL");
  return 0;
}

}  // namespace
}  // namespace soma

int main(int argc, char** argv) {
  const long count = argc > 1 ? std::atol(argv[1]) : 1'000'000;
  if (count < 100 || count > 100'000'000) {
    std::fprintf(stderr, "usage: fold_bench [EVENTS]   (100 to 100,000,000)\n");
    return 2;
  }
  return soma::run(static_cast<std::size_t>(count) / 100 * 100);
}
