// Many actors are written, the host goes and comes back; memory by actor, active and idle.
#include <future>

#include "soma/v1/counter.pb.h"
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

Status fill(const std::string& folder, std::size_t each, ActorsRun& out) {
  Stack s;
  if (auto ok = s.open(folder, out.actors); !ok) return ok;
  (void)first_answer(*s.host, 0);
  const double before = resident_bytes(), cpu = cpu_seconds(), n = static_cast<double>(out.actors);
  const auto began = Clock::now();
  if (!submit_all(*s.host, out.events, kActorsOutstanding,
                  [&](std::size_t i) { return add_to(i % out.actors, 1 + i / out.actors); }))
    return fail(Code::kInternal, "an addition was not taken");
  out.cpu_s = cpu_seconds() - cpu;
  out.fill_events_per_s = n * static_cast<double>(each) / ms_since(began) * 1000;
  if (!s.host->drain(120'000)) return fail(Code::kInternal, "the host did not drain");
  out.bytes_per_active = (resident_bytes() - before) / n;
  return {};
}

Status restart(const Options& options, const std::string& folder, std::size_t each,
               ActorsRun& out) {
  const double before = resident_bytes();
  const auto profile = profile_of_this(options);
  const auto began = Clock::now();
  Stack s;
  if (auto ok = s.open(folder, 1); !ok) return ok;
  const std::int64_t value = first_answer(*s.host, each + 1);
  out.first_answer_ms = ms_since(began);
  if (value != static_cast<std::int64_t>(each) + 2)  // one before the fill, one now
    return fail(Code::kInternal, "the first actor counts " + std::to_string(value));
  out.bytes_per_idle = std::max(0.0, resident_bytes() - before) / static_cast<double>(out.actors);
  out.rss_mb = usage_of({::getpid()}).rss_mb;
  out.open_log_ms = s.log_ms;
  out.open_store_ms = s.store_ms;
  return {};
}

}  // namespace

Result<ActorsRun> run_actors(const Options& options, std::size_t events_each,
                             const std::string& kept) {
  DataFolder folder(options.folder);
  if (!folder.ok()) return tl::unexpected(folder.error());
  ActorsRun out;
  out.actors = options.amount;
  out.events = out.actors * events_each;
  if (auto ok = fill(folder.path(), events_each, out); !ok) return tl::unexpected(ok.error());
  if (auto ok = restart(options, folder.path(), events_each, out); !ok)
    return tl::unexpected(ok.error());
  std::error_code moved;
  if (!kept.empty()) std::filesystem::rename(folder.path(), kept, moved);
  if (moved) return fail(Code::kIo, kept + ": " + moved.message());
  return out;
}

}  // namespace soma::bench
