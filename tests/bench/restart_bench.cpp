// B5 and B8: many actors are written, the host goes, and comes back; memory by actor, active and
// idle.
#include <boost/json/serialize.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <mutex>
#include <thread>

#include "soma/v1/counter.pb.h"
#include "tests/bench/stack.h"
#include "tools/bench/child.h"
#include "tools/bench/figures.h"

namespace soma {
namespace {

using bench::Clock;
using bench::ms_since;
using bench::Stack;
constexpr std::size_t kOutstanding = 1024;

ActorKey counter(std::size_t i) { return {"demo", "counter", "c" + std::to_string(i), {}}; }

runtime::Submission add_to(std::size_t actor, std::size_t round) {
  v1::CounterCommand add;
  add.mutable_add()->set_amount(1);
  runtime::Submission s;
  s.actor = counter(actor);
  s.command = add.SerializeAsString();
  s.command_id = "demo:" + std::to_string(actor) + "-" + std::to_string(round);
  s.once = true;
  return s;
}

// The value that the first actor answers with, tried until its partition serves.
std::int64_t first_answer(runtime::Host& host, std::size_t round) {
  for (;;) {
    std::promise<Result<runtime::Accepted>> done;
    host.submit(add_to(0, round), [&](auto r) { done.set_value(std::move(r)); });
    const auto r = done.get_future().get();
    if (r) {
      v1::CounterReply reply;
      reply.ParseFromString(r->reply);
      return reply.value();
    }
    std::promise<void> a_moment;  // still recovering
    host.read(counter(0), [&](const auto&) { a_moment.set_value(); });
    a_moment.get_future().wait();
    std::this_thread::yield();
  }
}

bool fill(runtime::Host& host, std::size_t actors, std::size_t each) {
  return bench::submit_all(host, actors * each, kOutstanding,
                           [&](std::size_t i) { return add_to(i % actors, 1 + i / actors); });
}

int run(std::size_t actors, std::size_t each, const std::string& kept) {
  auto folder = bench::make_data_folder("");
  if (!folder) return 1;
  boost::json::object out{{"bench", "restart"},
                          {"machine", bench::machine()},
                          {"actors", actors},
                          {"events", actors * each}};
  const auto rss = [] { return bench::usage_of({::getpid()}).rss_mb * 1e6; };
  const double n = static_cast<double>(actors);
  {
    Stack s;
    if (auto ok = s.open(*folder, actors); !ok) return 1;
    (void)first_answer(*s.host, 0);
    const double before = rss();
    const auto began = Clock::now();
    if (!fill(*s.host, actors, each)) return 1;
    out["fill_events_per_s"] =
        static_cast<std::int64_t>(n * static_cast<double>(each) / ms_since(began) * 1000);
    if (!s.host->drain(120'000)) return 1;
    out["bytes_per_active_actor"] = static_cast<std::int64_t>((rss() - before) / n);
  }
  const double before = rss();
  const auto began = Clock::now();
  Stack s;
  if (auto ok = s.open(*folder, 1); !ok) {
    std::fprintf(stderr, "restart_bench: %s\n", ok.error().message.c_str());
    return 1;
  }
  const std::int64_t value = first_answer(*s.host, each + 1);
  const double first_ms = ms_since(began);
  if (value != static_cast<std::int64_t>(each) + 2) {  // one before the fill, one now
    std::fprintf(stderr, "restart_bench: the first actor counts %ld\n", static_cast<long>(value));
    return 1;
  }
  out["bytes_per_idle_actor"] = static_cast<std::int64_t>(std::max(0.0, rss() - before) / n);
  out["open_log_ms"] = s.log_ms;
  out["open_store_ms"] = s.store_ms;
  out["first_answer_ms"] = first_ms;
  std::printf("%s\n", boost::json::serialize(out).c_str());
  std::fprintf(stderr, "GATE B5 %.0f 300 %s\n", first_ms, first_ms <= 300 ? "PASS" : "FAIL");
  std::fprintf(stderr, "GATE B8 %.0f 400 %s\n", out["bytes_per_idle_actor"].to_number<double>(),
               out["bytes_per_idle_actor"].to_number<double>() <= 400 ? "PASS" : "FAIL");
  s.host.reset();
  std::error_code moved;
  if (kept.empty())
    std::filesystem::remove_all(*folder);
  else
    std::filesystem::rename(*folder, kept, moved);
  if (moved) std::fprintf(stderr, "restart_bench: %s: %s\n", kept.c_str(), moved.message().c_str());
  return moved ? 1 : 0;
}

}  // namespace
}  // namespace soma

int main(int argc, char** argv) {
  const long actors = argc > 1 ? std::atol(argv[1]) : 100'000;
  const long each = argc > 2 ? std::atol(argv[2]) : 1;
  if (actors < 1 || actors > 10'000'000 || each < 1 || each > 1000) {
    std::fprintf(stderr, "usage: restart_bench [ACTORS] [EVENTS_EACH] [KEPT_FOLDER]\n");
    return 2;
  }
  return soma::run(static_cast<std::size_t>(actors), static_cast<std::size_t>(each),
                   argc > 3 ? argv[3] : "");
}
