// G6: how long the audit of many records takes: the bundle written, then checked. With --keep its
// log and its bundle stay, for what tries them further (audit_test.py --records).
#include <unistd.h>

#include <boost/json/serialize.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>

#include "actors/actor_type.h"
#include "events/embedded/embedded_log.h"
#include "events/frames.h"
#include "runtime/audit/bundle.h"
#include "soma/v1/counter.pb.h"
#include "tools/auditor/check.h"

namespace soma {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kEntriesPerFrame = 100;

double since(Clock::time_point from) {
  return std::chrono::duration<double>(Clock::now() - from).count();
}

v1::Frame frame_of(std::size_t first) {
  v1::Frame frame;
  for (std::size_t i = first; i < first + kEntriesPerFrame; ++i) {
    auto* entry = frame.add_entries();
    entry->mutable_actor()->set_tenant("demo");
    entry->mutable_actor()->set_type("counter");
    entry->mutable_actor()->set_id("c" + std::to_string(i % 1000));
    entry->mutable_context()->set_command_id("demo:" + std::to_string(i));
    entry->mutable_context()->set_now_ms(1);
    v1::CounterEvent event;
    event.mutable_added()->set_amount(1);
    auto* recorded = entry->add_events();
    recorded->set_sequence(i / 1000 + 1);
    recorded->set_event_id("evt_" + std::to_string(i) + "_0123456789abcdef");
    recorded->set_type("counter.added");
    recorded->set_payload(event.SerializeAsString());
  }
  return frame;
}

Status write_log(events::Log& log, std::size_t count) {
  events::FrameReader reader(log, PartitionId{0});
  auto writer = events::FrameWriter::claim(log, reader, {}, 1, {});
  if (!writer) return tl::unexpected(writer.error());
  for (std::size_t at = 0; at < count; at += kEntriesPerFrame) {
    std::promise<events::FrameWriter::Outcome> done;
    (*writer)->append(frame_of(at), [&](const auto& outcome) { done.set_value(outcome); });
    auto outcome = done.get_future().get();
    if (!outcome.valid) return tl::unexpected(outcome.error);
  }
  return {};
}

Status measure(const std::string& folder, std::size_t count) {
  events::EmbeddedOptions options;
  options.folder = folder + "/log";
  auto log = events::open_embedded_log(std::move(options));
  if (!log) return tl::unexpected(log.error());
  if (auto ok = write_log(**log, count); !ok) return ok;
  auto key = runtime::security::generate_ed25519();
  if (!key) return tl::unexpected(key.error());
  const std::string path = folder + "/bundle";
  auto began = Clock::now();
  std::ofstream out(path, std::ios::binary);
  auto made = runtime::audit::write_bundle(**log, *actors::standard_catalog(), *key, "demo", {}, 1,
                                           [&](std::string_view line) {
                                             out << line;
                                             return Status{};
                                           });
  out.close();
  if (!made) return tl::unexpected(made.error());
  const double export_s = since(began);
  began = Clock::now();
  std::ifstream in(path, std::ios::binary);
  const auto report = auditor::check_stream(in, {key->id});
  const double verify_s = since(began);
  if (!report.ok() || report.records != count)
    return fail(Code::kCorrupt, report.ok() ? "records are missing" : report.bad->detail);
  std::printf("%s\n", boost::json::serialize(boost::json::object{{"bench", "audit"},
                                                                 {"records", count},
                                                                 {"key", key->id},
                                                                 {"bundle_bytes", made->bytes},
                                                                 {"export_s", export_s},
                                                                 {"verify_s", verify_s}})
                          .c_str());
  if (count >= 1'000'000)
    std::printf("GATE G6 %.1f s for %zu records 10 s %s\n", verify_s, count,
                verify_s * 1e6 / static_cast<double>(count) <= 10 ? "PASS" : "FAIL");
  return {};
}

}  // namespace
}  // namespace soma

int main(int argc, char** argv) {
  const std::size_t count =
      argc > 1 ? std::strtoul(argv[1], nullptr, 10) / 100 * 100 : std::size_t{1'000'000};
  const bool keep = argc == 4 && std::string(argv[2]) == "--keep";
  if (argc > 2 && !keep) {
    std::fprintf(stderr, "usage: audit_bench [RECORDS [--keep FOLDER]]\n");
    return 2;
  }
  const auto folder = keep ? std::filesystem::path(argv[3])
                           : std::filesystem::temp_directory_path() /
                                 ("soma-audit-bench-" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  const auto ok = soma::measure(folder.string(), count);
  if (!keep) std::filesystem::remove_all(folder);
  if (!ok) std::fprintf(stderr, "audit_bench: %s\n", ok.error().message.c_str());
  return ok ? 0 : 1;
}
