// Many actors are written, the host goes and comes back; memory by actor, active and idle.
#include <future>

#include "soma/v1/counter.pb.h"
#include "tools/bench/apart.h"
#include "tools/bench/host_runs.h"
#include "tools/bench/stack.h"

namespace soma::bench {

namespace {

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

double resident_bytes() { return usage_of({::getpid()}).rss_mb * 1e6; }

// Of a host that has one actor: what the others are measured against.
Result<double> resident_of_one(const std::string& folder) {
  Stack s;
  if (auto ok = s.open(folder, 1); !ok) return tl::unexpected(ok.error());
  (void)first_answer(*s.host, 0);
  if (auto ok = s.wait_until_served(); !ok) return tl::unexpected(ok.error());
  return resident_bytes();
}

struct Filled {
  double events_per_s = 0, cpu_s = 0, bytes_per_active = 0;
};

Result<Filled> fill(const std::string& folder, std::size_t actors, std::size_t each) {
  Stack s;
  if (auto ok = s.open(folder, actors); !ok) return tl::unexpected(ok.error());
  (void)first_answer(*s.host, 0);
  if (auto ok = s.wait_until_served(); !ok) return tl::unexpected(ok.error());
  const double before = resident_bytes(), cpu = cpu_seconds();
  const auto began = Clock::now();
  if (!submit_all(*s.host, actors * each, kActorsOutstanding,
                  [&](std::size_t i) { return add_to(i % actors, 1 + i / actors); }))
    return fail(Code::kInternal, "an addition was not taken");
  Filled out;
  out.cpu_s = cpu_seconds() - cpu;
  out.events_per_s = static_cast<double>(actors * each) / ms_since(began) * 1000;
  if (!s.host->drain(120'000)) return fail(Code::kInternal, "the host did not drain");
  out.bytes_per_active = (resident_bytes() - before) / static_cast<double>(actors);
  return out;
}

struct Restarted {
  double open_log_ms = 0, open_store_ms = 0, first_answer_ms = 0, resident = 0;
};

Result<Restarted> restart(const Options& options, const std::string& folder, std::size_t each) {
  const auto profile = profile_of_this(options);
  const auto began = Clock::now();
  Stack s;
  if (auto ok = s.open(folder, 1); !ok) return tl::unexpected(ok.error());
  const std::int64_t value = first_answer(*s.host, each + 1);
  Restarted out;
  out.first_answer_ms = ms_since(began);
  if (value != static_cast<std::int64_t>(each) + 2)  // one before the fill, one now
    return fail(Code::kInternal, "the first actor counts " + std::to_string(value));
  if (auto ok = s.wait_until_served(); !ok) return tl::unexpected(ok.error());
  out.resident = resident_bytes();
  out.open_log_ms = s.log_ms;
  out.open_store_ms = s.store_ms;
  return out;
}

}  // namespace

// Each in a process of its own: memory that one frees would be there for the next to take unseen.
Result<ActorsRun> run_actors(const Options& options, std::size_t events_each,
                             const std::string& kept) {
  DataFolder folder(options.folder), bare(options.folder);
  for (const auto* f : {&folder, &bare})
    if (!f->ok()) return tl::unexpected(f->error());
  const std::size_t actors = options.amount;
  const auto one = apart<double>([&] { return resident_of_one(bare.path()); });
  if (!one) return tl::unexpected(one.error());
  const auto filled = apart<Filled>([&] { return fill(folder.path(), actors, events_each); });
  if (!filled) return tl::unexpected(filled.error());
  const auto again = apart<Restarted>([&] { return restart(options, folder.path(), events_each); });
  if (!again) return tl::unexpected(again.error());
  ActorsRun out;
  out.actors = actors;
  out.events = actors * events_each;
  out.fill_events_per_s = filled->events_per_s;
  out.cpu_s = filled->cpu_s;
  out.bytes_per_active = filled->bytes_per_active;
  out.bytes_per_idle = std::max(0.0, again->resident - *one) / static_cast<double>(actors);
  out.open_log_ms = again->open_log_ms;
  out.open_store_ms = again->open_store_ms;
  out.first_answer_ms = again->first_answer_ms;
  out.rss_mb = again->resident / 1e6;
  std::error_code moved;
  if (!kept.empty()) std::filesystem::rename(folder.path(), kept, moved);
  if (moved) return fail(Code::kIo, kept + ": " + moved.message());
  return out;
}

}  // namespace soma::bench
